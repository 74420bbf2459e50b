import type { ApprovalRequestItem, Citation, Item, StartedTurn, TurnEvent, TurnOutcome } from '#conversation';
import type { StreamWriter } from '../openai/answer-exchange.ts';
import { ToldText, toldOtherwise } from '../openai/told-text.ts';
import { responseIdOf } from '../openai/wire-ids.ts';

/** A message that is gone on with: what its person refused is told there, and what came of what they approved. */
export interface ContinuedMessage {
  readonly id: string;
  readonly refused: readonly ApprovalRequestItem[];
  readonly approved: readonly ApprovalRequestItem[];
}

/**
 * The UI message stream of the AI SDK (`x-vercel-ai-ui-message-stream: v1`): one assistant message,
 * whose parts are texts, thoughts, calls of the assistant's tools and sources.
 */
export class UiWriter implements StreamWriter {
  readonly tellsCancelled = true;
  readonly #continued: ContinuedMessage | undefined;
  readonly #told = new ToldText();
  readonly #cites = new Set<string>();
  /** Calls that were told, by both their ids: of others the stream knows no end. */
  readonly #called = new Set<string>();
  #isStarted = false;
  /** The answer was made anew and differs from what was told: nothing more can be said of it here. */
  #isLost = false;
  /** The text part that is open, and whether its item has ended: it goes on where the answer begins anew. */
  #part: { readonly id: string; isOver: boolean } | undefined;
  /** The thought that is open. */
  #thought: string | undefined;

  /** `continued`: its answer goes on in that message, else in one of its own. */
  constructor(continued?: ContinuedMessage) {
    this.#continued = continued;
  }

  write(event: TurnEvent): string {
    if (this.#isLost) return '';
    switch (event.type) {
      case 'compacted':
      case 'stepped':
      case 'bridged':
      case 'acting':
        return '';
      case 'queued':
      case 'started':
        return this.#start(event.turn);
      case 'restarted':
        this.#told.restart(event.index);
        return '';
      case 'opened':
        return this.#opened(event.item);
      case 'text':
      case 'refusal':
        return this.#text(event.index, event.delta);
      case 'reasoning':
        return this.#think(event.itemId, event.delta);
      case 'arguments':
        return '';
      case 'cited':
        return this.#cited(event.citation);
      case 'called':
        return this.#call(event.item);
      case 'closed':
        return this.#closed(event.item);
      case 'finished':
        if (event.outcome.state === 'completed' && this.#told.isOwed) return this.#lose();
        return `${this.#endPart()}${this.#finished(event.outcome)}data: [DONE]\n\n`;
    }
  }

  /** The last chunk has said it. */
  failure(): string {
    return '';
  }

  /** With its first event, so that a chat shows at once that its message was taken. */
  #start({ id }: StartedTurn): string {
    if (this.#isStarted) return '';
    this.#isStarted = true;
    const response = responseIdOf(id);
    const { id: messageId = response, refused = [] } = this.#continued ?? {};
    const started = chunk({ type: 'start', messageId, messageMetadata: { response } });
    return started + refused.map((request) => this.#denied(request)).join('');
  }

  /** The call is told before: one who listens again may not know it. */
  #denied(request: ApprovalRequestItem): string {
    return this.#call(request) + chunk({ type: 'tool-output-denied', toolCallId: request.callId });
  }

  /** Once for each source: the stream has no place in the text for it. */
  #cited({ source, title }: Citation): string {
    if (this.#cites.has(source)) return '';
    this.#cites.add(source);
    return chunk({ type: 'source-document', sourceId: source, mediaType: 'text/markdown', title });
  }

  /** A person is told that there was a thought, and nothing of it: for them there is no part. */
  #think(id: string, delta: string): string {
    if (delta === '') return '';
    const begun = this.#thought === id ? '' : chunk({ type: 'reasoning-start', id });
    this.#thought = id;
    return begun + chunk({ type: 'reasoning-delta', id, delta });
  }

  #opened(item: Item): string {
    if (item.kind !== 'message') return this.#endPart();
    if (this.#part !== undefined) {
      this.#part.isOver = false;
      if (this.#told.isOwed) return '';
    }
    const ended = this.#endPart();
    this.#part = { id: item.id, isOver: false };
    return ended + chunk({ type: 'text-start', id: item.id });
  }

  #text(index: number, delta: string): string {
    let rest: string;
    try {
      rest = this.#told.tell(index, delta);
    } catch {
      return this.#lose();
    }
    return rest === '' || this.#part === undefined ? '' : chunk({ type: 'text-delta', id: this.#part.id, delta: rest });
  }

  #call(item: Extract<Item, { kind: 'call' | 'tool' | 'approval-request' }>): string {
    this.#called.add(item.id).add(item.callId);
    const { callId: toolCallId, name: toolName } = item;
    const begun = chunk({ type: 'tool-input-start', toolCallId, toolName, dynamic: true });
    return (
      begun +
      chunk({ type: 'tool-input-available', toolCallId, toolName, input: parsed(item.arguments), dynamic: true })
    );
  }

  #closed(item: Item): string {
    switch (item.kind) {
      case 'message':
        if (this.#part !== undefined) this.#part.isOver = true;
        return '';
      case 'call':
        return item.status === 'completed' ? this.#call(item) : '';
      case 'tool':
        if (!this.#called.has(item.id)) return '';
        return item.error === null
          ? chunk({
              type: 'tool-output-available',
              toolCallId: item.callId,
              output: parsed(item.output ?? ''),
              dynamic: true,
            })
          : chunk({ type: 'tool-output-error', toolCallId: item.callId, errorText: item.error, dynamic: true });
      case 'approval-request':
        return (
          this.#endPart() +
          this.#call(item) +
          chunk({ type: 'tool-approval-request', approvalId: item.id, toolCallId: item.callId })
        );
      case 'result':
      case 'reasoning': {
        const isOpen = this.#thought === item.id;
        this.#thought = undefined;
        return isOpen ? chunk({ type: 'reasoning-end', id: item.id }) : '';
      }
      case 'approval':
      case 'compaction':
        return '';
    }
  }

  #lose(): string {
    this.#isLost = true;
    const { message } = toldOtherwise();
    return `${this.#endPart()}${chunk({ type: 'error', errorText: message })}data: [DONE]\n\n`;
  }

  #endPart(): string {
    if (this.#part === undefined) return '';
    const { id } = this.#part;
    this.#part = undefined;
    return chunk({ type: 'text-end', id });
  }

  #owesOutcome(): boolean {
    return this.#continued?.approved.some(({ callId }) => !this.#called.has(callId)) ?? false;
  }

  #finished(outcome: TurnOutcome): string {
    switch (outcome.state) {
      case 'completed':
      case 'incomplete':
        return this.#owesOutcome()
          ? outcomeGone
          : chunk({ type: 'finish', finishReason: finishReasons[outcome.reason] });
      case 'cancelled':
        return chunk({ type: 'abort' });
      case 'failed':
        return chunk({ type: 'error', errorText: outcome.message });
    }
  }
}

function chunk(fields: object): string {
  return `data: ${JSON.stringify(fields)}\n\n`;
}

const finishReasons = { stop: 'stop', call: 'tool-calls', length: 'length', filtered: 'content-filter' } as const;

/** A chat whose call stays open would send the approval again by itself, without end. */
const outcomeGone = chunk({
  type: 'error',
  errorText: 'What came of the approved call is not told any more. Say what comes next.',
});

/** JSON where it is some, else the text. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
