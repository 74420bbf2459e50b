import { UsherError } from '#base';
import type { Item, StartedTurn, TurnEvent } from '#conversation';
import type { StreamWriter } from './answer-exchange.ts';
import { reasonOf, responseBody, type ResponseParts, type ResponseSettings } from './response-body.ts';
import { writeCitation, writeItem, writePart } from './write-items.ts';

/** Every event of a response with what it tells, in the order in which they first come. */
export const responseEvents = {
  'response.created': 'The turn is committed; `response` holds its id and no output yet.',
  'response.in_progress': 'The model is asked.',
  'response.output_item.added': 'An item of the answer begins: a message or a call of a function.',
  'response.content_part.added': 'The text or the refusal of a message begins.',
  'response.output_text.delta': 'The next piece of the text.',
  'response.output_text.annotation.added': 'A source of what was quoted: a file of the assistant’s knowledge.',
  'response.output_text.done': 'The text of the message, whole or as far as it came.',
  'response.refusal.delta': 'The next piece of a refusal.',
  'response.refusal.done': 'The refusal as a whole.',
  'response.content_part.done': 'The text or the refusal, with its sources.',
  'response.function_call_arguments.delta': 'The next piece of the arguments of a call, which are JSON.',
  'response.function_call_arguments.done': 'The arguments as a whole; missing where the call was cut short.',
  'response.output_item.done': 'The item as a whole; its `status` says whether it was cut short.',
  'response.completed': 'Terminal: the answer is whole.',
  'response.incomplete': 'Terminal: it ended early; `incomplete_details` says why.',
  'response.failed': 'Terminal: it broke; `error` says why, and `output` holds what came.',
} as const;

type EventType = keyof typeof responseEvents;

/** Events of one response, numbered from 0 without gaps. */
export class ResponseEventWriter implements StreamWriter {
  readonly #settings: ResponseSettings;
  readonly #items: Item[] = [];
  #turn: StartedTurn | undefined;
  #sequence = 0;
  #parts = 0;
  #citations = 0;

  constructor(settings: ResponseSettings) {
    this.#settings = settings;
  }

  write(event: TurnEvent): string {
    switch (event.type) {
      case 'started': {
        this.#turn = event.turn;
        const response = this.#response({ state: 'running' });
        return this.#event('response.created', { response }) + this.#event('response.in_progress', { response });
      }
      case 'opened':
        this.#parts = 0;
        this.#citations = 0;
        return this.#event('response.output_item.added', {
          output_index: event.index,
          item: writeItem(event.item.kind === 'message' ? { ...event.item, content: [] } : event.item, 'in_progress'),
        });
      case 'text':
      case 'refusal':
        return this.#openPart(event) + this.#delta(event);
      case 'cited':
        return this.#event('response.output_text.annotation.added', {
          item_id: event.itemId,
          output_index: event.index,
          content_index: 0,
          annotation_index: this.#citations++,
          annotation: writeCitation(event.citation),
        });
      case 'arguments':
        return this.#event('response.function_call_arguments.delta', {
          item_id: event.itemId,
          output_index: event.index,
          delta: event.delta,
        });
      case 'closed':
        return this.#closed(event.index, event.item);
      case 'finished':
        return this.#finished(event);
    }
  }

  /** The terminal event has said it. */
  failure(): string {
    return '';
  }

  #openPart(event: Extract<TurnEvent, { type: 'text' | 'refusal' }>): string {
    if (this.#parts > 0) return '';
    this.#parts = 1;
    return this.#event('response.content_part.added', {
      item_id: event.itemId,
      output_index: event.index,
      content_index: 0,
      part: writePart({ type: event.type, text: '' }, 'assistant'),
    });
  }

  /** The hot path: one per token, so written without an object in between. */
  #delta(event: Extract<TurnEvent, { type: 'text' | 'refusal' }>): string {
    const type = event.type === 'text' ? 'response.output_text.delta' : 'response.refusal.delta';
    const logprobs = event.type === 'text' ? ',"logprobs":[]' : '';
    return `event: ${type}\ndata: {"type":"${type}","sequence_number":${this.#sequence++},"item_id":"${event.itemId}","output_index":${event.index},"content_index":0,"delta":${JSON.stringify(event.delta)}${logprobs}}\n\n`;
  }

  #closed(index: number, item: Item): string {
    this.#items[index] = item;
    const at = { item_id: item.id, output_index: index };
    return (
      this.#contentDone(at, item) +
      this.#event('response.output_item.done', { output_index: index, item: writeItem(item) })
    );
  }

  #contentDone(at: { item_id: string; output_index: number }, item: Item): string {
    // Arguments of a call that was cut short are not done: nothing may act on them.
    if (item.kind === 'call' && item.status === 'completed') {
      return this.#event('response.function_call_arguments.done', {
        ...at,
        name: item.name,
        arguments: item.arguments,
      });
    }
    const part = item.kind === 'message' ? item.content[0] : undefined;
    if (part === undefined || part.type === 'image') return '';
    const done =
      part.type === 'text'
        ? this.#event('response.output_text.done', { ...at, content_index: 0, text: part.text, logprobs: [] })
        : this.#event('response.refusal.done', { ...at, content_index: 0, refusal: part.text });
    return (
      done + this.#event('response.content_part.done', { ...at, content_index: 0, part: writePart(part, 'assistant') })
    );
  }

  #finished(event: Extract<TurnEvent, { type: 'finished' }>): string {
    const { outcome, usage, finishedAtMs } = event;
    // Whoever cancelled does not listen any more, and the wire has no event for it.
    if (outcome.state === 'cancelled') return '';
    const response = this.#response({ state: outcome.state, ...reasonOf(outcome), usage, finishedAtMs });
    return `${this.#event(`response.${outcome.state}`, { response })}data: [DONE]\n\n`;
  }

  #response(now: Partial<ResponseParts> & Pick<ResponseParts, 'state'>): object {
    if (this.#turn === undefined) throw new UsherError('internal', 'A response was written before it started.');
    const items = this.#items.filter((item) => item !== undefined);
    const nothing = { finishedAtMs: null, reason: null, message: null, usage: null };
    return responseBody({ ...this.#turn, ...nothing, items, settings: this.#settings, ...now });
  }

  #event(type: EventType, fields: object): string {
    return `event: ${type}\ndata: ${JSON.stringify({ type, sequence_number: this.#sequence++, ...fields })}\n\n`;
  }
}
