import type { Citation, ContentPart, Item, ToolItem } from './item.ts';
import type { DeltaEvent, OpenedItem, TurnEvent, Usage } from './turn-event.ts';

/** An item that counts, at its place among all that were told. */
export interface Placed<Kind extends Item = Item> {
  readonly index: number;
  readonly item: Kind;
}

/** How far a turn came, as its events tell. */
export interface Replayed {
  /** Items that are whole, or were cut short, and count. */
  readonly kept: readonly Placed[];
  /** What a model was in the middle of, as far as it came. */
  readonly open: Placed<OpenedItem> | undefined;
  /** Calls of tools whose arguments are whole and whose outcome is not known. */
  readonly pending: readonly (Placed<ToolItem> & { readonly acting: boolean })[];
  readonly nextIndex: number;
  /** The first place of the present answer of a model. */
  readonly stepFrom: number;
  /** Whether no answer of a model is under way. */
  readonly isStepOver: boolean;
  readonly steps: number;
  /** Of the steps that ended. */
  readonly usage: Usage;
  readonly backend: string | null;
}

/** Nothing was asked of any model. */
export const noUsage: Usage = {
  inputTokens: 0,
  cachedInputTokens: 0,
  outputTokens: 0,
  reasoningTokens: 0,
  estimated: false,
};

export function addUsage(one: Usage, other: Usage): Usage {
  return {
    inputTokens: one.inputTokens + other.inputTokens,
    cachedInputTokens: one.cachedInputTokens + other.cachedInputTokens,
    outputTokens: one.outputTokens + other.outputTokens,
    reasoningTokens: one.reasoningTokens + other.reasoningTokens,
    estimated: one.estimated || other.estimated,
  };
}

/** Where a turn that has told nothing stands. */
export const nothingTold: Replayed = {
  kept: [],
  open: undefined,
  pending: [],
  nextIndex: 0,
  stepFrom: 0,
  isStepOver: false,
  steps: 0,
  usage: noUsage,
  backend: null,
};

/** Reads events in their order; a turn's first ones begin at `nothingTold`. Pure. */
export function replay(events: Iterable<TurnEvent>, from: Replayed = nothingTold): Replayed {
  let state = from;
  for (const event of events) state = after(state, event);
  return state;
}

function after(state: Replayed, event: TurnEvent): Replayed {
  switch (event.type) {
    case 'queued':
    case 'started':
    case 'bridged':
    case 'finished':
      return state;
    case 'opened':
      return { ...state, open: event, nextIndex: event.index + 1, isStepOver: false };
    case 'text':
    case 'refusal':
    case 'reasoning':
    case 'cited':
    case 'arguments':
      if (state.open === undefined) return state;
      return { ...state, open: { index: state.open.index, item: grown(state.open.item, event) } };
    case 'called':
      return { ...state, open: undefined, pending: [...state.pending, { ...event, acting: false }] };
    case 'acting': {
      const acting = (call: Replayed['pending'][number]) =>
        call.index === event.index ? { ...call, acting: true } : call;
      return { ...state, pending: state.pending.map(acting) };
    }
    case 'closed': {
      const { index, item } = event;
      const kept = [...state.kept, { index, item }].sort((one, other) => one.index - other.index);
      return {
        ...state,
        kept,
        open: state.open?.index === index ? undefined : state.open,
        pending: state.pending.filter((call) => call.index !== index),
        nextIndex: Math.max(state.nextIndex, index + 1),
        // Of these alone nothing is told before they are whole.
        isStepOver: state.isStepOver && item.kind !== 'approval-request',
      };
    }
    case 'compacted':
      return {
        ...state,
        kept: [...state.kept, { index: event.index, item: event.item }],
        nextIndex: event.index + 1,
        stepFrom: event.index + 1,
        usage: addUsage(state.usage, event.usage),
      };
    case 'stepped':
      return {
        ...state,
        isStepOver: true,
        stepFrom: state.nextIndex,
        steps: state.steps + 1,
        usage: addUsage(state.usage, event.usage),
        backend: event.backend ?? state.backend,
      };
    case 'restarted':
      return {
        ...state,
        kept: state.kept.filter(({ index }) => index < event.index),
        pending: state.pending.filter(({ index }) => index < event.index),
        open: undefined,
      };
  }
}

function grown(item: OpenedItem, event: DeltaEvent): OpenedItem {
  if (event.type === 'arguments') {
    return item.kind === 'call' || item.kind === 'tool' ? { ...item, arguments: item.arguments + event.delta } : item;
  }
  if (event.type === 'reasoning') {
    return item.kind === 'reasoning' ? { ...item, text: item.text + event.delta } : item;
  }
  if (item.kind !== 'message') return item;
  const [part] = item.content;
  return part === undefined ? item : { ...item, content: [grownPart(part, event)] };
}

function grownPart(part: ContentPart, event: Exclude<DeltaEvent, { type: 'arguments' | 'reasoning' }>): ContentPart {
  if (part.type === 'image' || part.type === 'file') return part;
  if (event.type === 'text' && event.logprobs !== undefined && part.type === 'text') {
    const logprobs = [...(part.logprobs ?? []), ...event.logprobs];
    return { ...part, text: part.text + event.delta, logprobs };
  }
  if (event.type !== 'cited') return { ...part, text: part.text + event.delta };
  if (part.type === 'refusal') return part;
  const citations: readonly Citation[] = [...(part.citations ?? []), event.citation];
  return { ...part, citations };
}
