import { UsherError } from '#base';
import type { Item, StartedTurn, TurnEvent } from '#conversation';
import type { StreamWriter } from './answer-exchange.ts';
import { reasonOf, responseBody, type ResponseParts, type ResponseSettings } from './response-body.ts';
import { writeCitation, writeItem, writePart } from './write-items.ts';

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
    const response = this.#response({ state: outcome.state, ...reasonOf(outcome), usage, finishedAtMs });
    return `${this.#event(`response.${outcome.state}`, { response })}data: [DONE]\n\n`;
  }

  #response(now: Partial<ResponseParts> & Pick<ResponseParts, 'state'>): object {
    if (this.#turn === undefined) throw new UsherError('internal', 'A response was written before it started.');
    const items = this.#items.filter((item) => item !== undefined);
    const nothing = { finishedAtMs: null, reason: null, message: null, usage: null };
    return responseBody({ ...this.#turn, ...nothing, items, settings: this.#settings, ...now });
  }

  #event(type: string, fields: object): string {
    return `event: ${type}\ndata: ${JSON.stringify({ type, sequence_number: this.#sequence++, ...fields })}\n\n`;
  }
}
