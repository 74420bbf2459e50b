import { parseId, UsherError } from '#base';
import { isSearchId, type Item, type OpenedItem, type StartedTurn, type TurnEvent } from '#conversation';
import type { StreamWriter } from './answer-exchange.ts';
import { reasonOf, responseBody, type ResponseParts, type ResponseSettings } from './response-body.ts';
import { writeCitation, writeItem, writeLogprobs, writePart, writeThought } from './write-items.ts';

/** Every event of a response with what it tells, in the order in which they first come. */
export const responseEvents = {
  'response.created': 'The turn is committed; `response` holds its id and no output yet.',
  'response.queued': 'It waits: for its conversation, or because nobody waits for it.',
  'response.in_progress':
    'The model is asked. A later one says that the answer begins anew: of what was told so far no more counts than its `output`, and new items follow.',
  'response.output_item.added':
    'An item of the answer begins: what the model thinks, a message, a call of a function, or a compaction.',
  'response.content_part.added': 'The text or the refusal of a message begins, or what the model thinks.',
  'response.reasoning_text.delta': 'The next piece of what the model thinks.',
  'response.reasoning_text.done': 'What it thought, whole or as far as it came.',
  'response.output_text.delta': 'The next piece of the text.',
  'response.output_text.annotation.added':
    'A source of what was quoted or marked: a file of the assistant’s knowledge.',
  'response.output_text.done': 'The text of the message, whole or as far as it came.',
  'response.refusal.delta': 'The next piece of a refusal.',
  'response.refusal.done': 'The refusal as a whole.',
  'response.content_part.done': 'The text or the refusal, with its sources.',
  'response.function_call_arguments.delta': 'The next piece of the arguments of a call, which are JSON.',
  'response.function_call_arguments.done': 'The arguments as a whole; missing where the call was cut short.',
  'response.custom_tool_call_input.delta': 'The next piece of what a custom tool is given.',
  'response.custom_tool_call_input.done': 'All of it; missing where the call was cut short.',
  'response.mcp_call_arguments.delta': 'The next piece of the arguments of a call of the assistant’s own tool.',
  'response.mcp_call_arguments.done': 'Those arguments as a whole.',
  'response.mcp_call.in_progress': 'The tool runs.',
  'response.mcp_call.completed': 'It has run; the item holds its output.',
  'response.mcp_call.failed': 'It failed; the item says why.',
  'response.file_search_call.in_progress': 'The assistant’s knowledge is to be searched.',
  'response.file_search_call.searching': 'It is searched.',
  'response.file_search_call.completed': 'It was searched; the item holds what was asked.',
  'response.output_item.done': 'The item as a whole; its `status` says whether it was cut short.',
  'response.completed': 'Terminal: the answer is whole.',
  'response.incomplete': 'Terminal: it ended early; `incomplete_details` says why.',
  'response.failed': 'Terminal: it broke; `error` says why, and `output` holds what came.',
} as const;

type EventType = keyof typeof responseEvents;

const deltaTypes = {
  text: 'response.output_text.delta',
  refusal: 'response.refusal.delta',
  reasoning: 'response.reasoning_text.delta',
} as const;

function logprobsField(told: readonly unknown[] | undefined): string {
  return told === undefined ? ',"logprobs":[]' : `,"logprobs":${JSON.stringify(writeLogprobs(told))}`;
}

function isCustom(item: Item): boolean {
  return item.kind === 'call' && item.custom === true;
}

/** The one part of an item that comes piece by piece. */
function partOf(item: Item): object | undefined {
  if (item.kind === 'reasoning') return writeThought(item.text);
  const part = item.kind === 'message' ? item.content[0] : undefined;
  return part === undefined ? undefined : writePart(part, 'assistant');
}

/** Events of one response, numbered from 0 without gaps. */
export class ResponseEventWriter implements StreamWriter {
  readonly #settings: ResponseSettings;
  #items: (Item | undefined)[] = [];
  readonly #after: number;
  #isQueued = false;
  #turn: StartedTurn | undefined;
  #sequence = 0;
  #citations = 0;
  /** Whether the open item is a call of a custom tool. */
  #isCustom = false;

  /** `after`: events up to this number were told before, and are left out. */
  constructor(settings: ResponseSettings, after = -1) {
    this.#settings = settings;
    this.#after = after;
  }

  write(event: TurnEvent): string {
    switch (event.type) {
      case 'queued': {
        this.#turn = event.turn;
        this.#isQueued = true;
        const response = this.#response({ state: 'queued' });
        return this.#event('response.created', { response }) + this.#event('response.queued', { response });
      }
      case 'started': {
        this.#turn = event.turn;
        const response = this.#response({ state: 'running' });
        const created = this.#isQueued ? '' : this.#event('response.created', { response });
        return created + this.#event('response.in_progress', { response });
      }
      case 'opened':
        return this.#opened(event);
      case 'text':
      case 'refusal':
      case 'reasoning':
        return this.#delta(event);
      case 'cited':
        return this.#event('response.output_text.annotation.added', {
          item_id: event.itemId,
          output_index: event.index,
          content_index: 0,
          annotation_index: this.#citations++,
          annotation: writeCitation(event.citation),
        });
      case 'arguments':
        return this.#arguments(event);
      case 'called':
        if (isSearchId(event.item.id)) return '';
        return this.#event('response.mcp_call_arguments.done', {
          item_id: event.item.id,
          output_index: event.index,
          arguments: event.item.arguments,
        });
      case 'acting':
        return this.#event(
          isSearchId(event.itemId) ? 'response.file_search_call.searching' : 'response.mcp_call.in_progress',
          { item_id: event.itemId, output_index: event.index },
        );
      case 'compacted': {
        this.#items[event.index] = event.item;
        const told = { output_index: event.index, item: writeItem(event.item) };
        return this.#event('response.output_item.added', told) + this.#event('response.output_item.done', told);
      }
      case 'stepped':
        return '';
      case 'restarted':
        this.#items = this.#items.slice(0, event.index);
        return this.#event('response.in_progress', { response: this.#response({ state: 'running' }) });
      case 'bridged':
        return this.#bridge(event);
      case 'closed':
        return this.#closed(event.index, event.item);
      case 'finished':
        return this.#finished(event);
    }
  }

  readonly tellsCancelled = true;

  /** The terminal event has said it. */
  failure(): string {
    return '';
  }

  #opened({ index, item }: Extract<TurnEvent, { type: 'opened' }>): string {
    this.#citations = 0;
    this.#isCustom = isCustom(item);
    const begun = item.kind === 'message' ? { ...item, content: [] } : item;
    const added = this.#event('response.output_item.added', {
      output_index: index,
      item: writeItem(begun, { status: 'in_progress' }),
    });
    const at = { item_id: item.id, output_index: index };
    if (isSearchId(item.id)) return added + this.#event('response.file_search_call.in_progress', at);
    const part = partOf(item);
    if (part === undefined) return added;
    const opened = { ...at, content_index: 0, part };
    return added + this.#event('response.content_part.added', opened);
  }

  #arguments({ index, itemId, delta }: Extract<TurnEvent, { type: 'arguments' }>): string {
    // The wire tells what is searched for with the item, as a whole.
    if (isSearchId(itemId)) return '';
    const type = this.#isCustom
      ? 'response.custom_tool_call_input.delta'
      : parseId('tool', itemId) === undefined
        ? 'response.function_call_arguments.delta'
        : 'response.mcp_call_arguments.delta';
    return this.#event(type, { item_id: itemId, output_index: index, delta });
  }

  /** Numbers that may have been told already, each as a delta that says nothing. */
  #bridge({ index, item, count }: Extract<TurnEvent, { type: 'bridged' }>): string {
    let block = '';
    this.#isCustom = isCustom(item);
    for (let told = 0; told < count; told += 1) block += this.#emptyDelta(index, item);
    return block;
  }

  #emptyDelta(index: number, item: OpenedItem): string {
    if (item.kind === 'reasoning') return this.#delta({ type: 'reasoning', index, itemId: item.id, delta: '' });
    if (item.kind !== 'message') return this.#arguments({ type: 'arguments', index, itemId: item.id, delta: '' });
    const type = item.content[0]?.type === 'refusal' ? 'refusal' : 'text';
    return this.#delta({ type, index, itemId: item.id, delta: '' });
  }

  /** The hot path: one per token, so written without an object in between. */
  #delta(event: Extract<TurnEvent, { type: keyof typeof deltaTypes }>): string {
    const number = this.#sequence++;
    if (number <= this.#after) return '';
    const type: EventType = deltaTypes[event.type];
    const logprobs = event.type === 'text' ? logprobsField(event.logprobs) : '';
    return `event: ${type}\ndata: {"type":"${type}","sequence_number":${number},"item_id":"${event.itemId}","output_index":${event.index},"content_index":0,"delta":${JSON.stringify(event.delta)}${logprobs}}\n\n`;
  }

  #closed(index: number, item: Item): string {
    this.#items[index] = item;
    const at = { item_id: item.id, output_index: index };
    // Told whole at once, so that nobody is asked about half of it.
    const told = { output_index: index, item: writeItem(item, { showsFound: this.#settings.showsFound }) };
    const added = item.kind === 'approval-request' ? this.#event('response.output_item.added', told) : '';
    return added + this.#contentDone(at, item) + this.#event('response.output_item.done', told);
  }

  #contentDone(at: { item_id: string; output_index: number }, item: Item): string {
    if (isSearchId(item.id)) {
      const isDone = item.kind === 'tool' && item.status === 'completed' && item.error === null;
      return isDone ? this.#event('response.file_search_call.completed', at) : '';
    }
    if (item.kind === 'tool' && item.status === 'completed') {
      return this.#event(item.error === null ? 'response.mcp_call.completed' : 'response.mcp_call.failed', at);
    }
    // Arguments of a call that was cut short are not done: nothing may act on them.
    if (item.kind === 'call' && item.status === 'completed') {
      if (item.custom === true) {
        return this.#event('response.custom_tool_call_input.done', { ...at, input: item.arguments });
      }
      return this.#event('response.function_call_arguments.done', {
        ...at,
        name: item.name,
        arguments: item.arguments,
      });
    }
    const part = partOf(item);
    if (part === undefined) return '';
    const place = { ...at, content_index: 0 };
    return this.#textDone(place, item) + this.#event('response.content_part.done', { ...place, part });
  }

  #textDone(place: object, item: Item): string {
    if (item.kind === 'reasoning') return this.#event('response.reasoning_text.done', { ...place, text: item.text });
    const part = item.kind === 'message' ? item.content[0] : undefined;
    if (part?.type === 'refusal') return this.#event('response.refusal.done', { ...place, refusal: part.text });
    return part?.type === 'text'
      ? this.#event('response.output_text.done', { ...place, text: part.text, logprobs: writeLogprobs(part.logprobs) })
      : '';
  }

  #finished(event: Extract<TurnEvent, { type: 'finished' }>): string {
    const { outcome, usage, finishedAtMs } = event;
    if (this.#after > this.#sequence) throw beyondEnd(this.#after, this.#sequence);
    // The wire has no event of its own for a response that was cancelled; its status says it.
    const type = outcome.state === 'cancelled' ? 'incomplete' : outcome.state;
    const response = this.#response({ state: outcome.state, ...reasonOf(outcome), usage, finishedAtMs });
    return `${this.#event(`response.${type}`, { response })}data: [DONE]\n\n`;
  }

  #response(now: Partial<ResponseParts> & Pick<ResponseParts, 'state'>): object {
    if (this.#turn === undefined) throw new UsherError('internal', 'A response was written before it started.');
    const items = this.#items.filter((item) => item !== undefined);
    const nothing = { finishedAtMs: null, reason: null, message: null, usage: null };
    return responseBody({ ...this.#turn, ...nothing, items, settings: this.#settings, ...now });
  }

  #event(type: EventType, fields: object): string {
    const number = this.#sequence++;
    if (number <= this.#after) return '';
    return `event: ${type}\ndata: ${JSON.stringify({ type, sequence_number: number, ...fields })}\n\n`;
  }
}

/** To whoever waits for what comes after it the end would never be told. */
function beyondEnd(after: number, last: number): UsherError {
  return new UsherError(
    'invalid_request',
    `The last event of this response is number ${last}; none is number ${after}. Send the number of the last one that you have.`,
    { param: 'starting_after' },
  );
}
