import { parseId, UsherError } from '#base';
import {
  addUsage,
  noUsage,
  textOf,
  type CallItem,
  type Item,
  type StartedTurn,
  type TurnEvent,
  type TurnOutcome,
  type Usage,
} from '#conversation';
import type { ErrorBody } from '../rescue.ts';
import type { StreamWriter, WholeAnswer } from './answer-exchange.ts';
import { ToldText, toldOtherwise } from './told-text.ts';
import { completionIdOf, servedModel } from './wire-ids.ts';
import { writeCall } from './write-messages.ts';

/** Between messages of one answer, and between its thoughts, which this wire knows as one text each. */
const between = '\n\n';

type Answered = Omit<WholeAnswer, 'finishedAtMs'>;

/** A whole completion: one choice for each answer. */
export function writeCompletion(answers: readonly Answered[], asksFunctions = false): object {
  const [first] = answers;
  if (first === undefined) throw new UsherError('internal', 'A completion without an answer.');
  const { turn } = first;
  return {
    id: completionIdOf(turn.id),
    object: 'chat.completion',
    created: Math.floor(turn.startedAtMs / 1000),
    model: servedModel(turn.assistant, turn.release),
    choices: answers.map((answer, index) => writeChoice(answer, index, asksFunctions)),
    usage: writeUsage(answers.reduce((sum, { usage }) => addUsage(sum, usage), noUsage)),
    service_tier: 'default',
  };
}

function writeChoice({ items, outcome }: Answered, index: number, asksFunctions: boolean): object {
  const texts = items.flatMap((item) => (item.kind === 'message' ? [item.content] : []));
  const calls = items.filter((item) => item.kind === 'call');
  const content = texts
    .map((parts) => parts.map((part) => (part.type === 'text' ? part.text : '')).join(''))
    .filter((text) => text !== '')
    .join(between);
  const refusal = texts
    .flat()
    .map((part) => (part.type === 'refusal' ? part.text : ''))
    .join('');
  const logprobs = texts.flat().flatMap((part) => (part.type === 'text' ? (part.logprobs ?? []) : []));
  const reasoning = items.flatMap((item) => (item.kind === 'reasoning' ? [item.text] : [])).join(between);
  return {
    index,
    message: {
      role: 'assistant',
      content: content === '' && (calls.length > 0 || refusal !== '') ? null : content,
      refusal: refusal === '' ? null : refusal,
      // Not of OpenAI's own wire: what clients of vLLM and DeepSeek read.
      ...(reasoning === '' ? {} : { reasoning_content: reasoning }),
      annotations: [],
      ...writeCalls(calls, asksFunctions),
    },
    logprobs: logprobs.length === 0 ? null : { content: logprobs, refusal: null },
    finish_reason: finishReason(outcome, asksFunctions),
  };
}

/** By their older name there is one call at the most. */
function writeCalls(calls: readonly CallItem[], asksFunctions: boolean): object {
  const [first] = calls;
  if (first === undefined) return {};
  if (!asksFunctions) return { tool_calls: calls.map(writeCall) };
  return { function_call: { name: first.name, arguments: first.arguments } };
}

function finishReason(outcome: TurnOutcome, asksFunctions: boolean): string {
  switch (outcome.state) {
    case 'completed':
      if (outcome.reason !== 'call') return 'stop';
      return asksFunctions ? 'function_call' : 'tool_calls';
    case 'incomplete':
      return outcome.reason === 'length' ? 'length' : 'content_filter';
    case 'cancelled':
      throw new UsherError('interrupted', 'The answer was cancelled before it was whole.');
    case 'failed':
      throw new UsherError('internal', 'A turn that failed has no finish reason.');
  }
}

function writeUsage(usage: Usage): object {
  return {
    prompt_tokens: usage.inputTokens,
    completion_tokens: usage.outputTokens,
    total_tokens: usage.inputTokens + usage.outputTokens,
    prompt_tokens_details: { cached_tokens: usage.cachedInputTokens, audio_tokens: 0 },
    completion_tokens_details: {
      reasoning_tokens: usage.reasoningTokens,
      audio_tokens: 0,
      accepted_prediction_tokens: 0,
      rejected_prediction_tokens: 0,
    },
  };
}

/** What the choices of a streamed completion have in common, and its end. */
export class ChunkStream {
  readonly asksFunctions: boolean;
  readonly #includeUsage: boolean;
  #choices: number;
  #usage = noUsage;
  /** The part that never changes is written once: it is most of each chunk. Of the turn that started first. */
  #head = '';

  constructor(asked: { readonly choices: number; readonly includeUsage: boolean; readonly asksFunctions: boolean }) {
    this.asksFunctions = asked.asksFunctions;
    this.#includeUsage = asked.includeUsage;
    this.#choices = asked.choices;
  }

  begin({ id, startedAtMs, assistant, release }: StartedTurn): void {
    if (this.#head !== '') return;
    const created = Math.floor(startedAtMs / 1000);
    const model = JSON.stringify(servedModel(assistant, release));
    this.#head = `data: {"id":"${completionIdOf(id)}","object":"chat.completion.chunk","created":${created},"model":${model},"service_tier":"default",`;
  }

  chunk(choice: string): string {
    return `${this.#head}"choices":[${choice}]${this.#includeUsage ? ',"usage":null' : ''}}\n\n`;
  }

  /** A choice is whole; after the last there is what ends the stream. */
  end(usage: Usage): string {
    this.#choices -= 1;
    this.#usage = addUsage(this.#usage, usage);
    if (this.#choices > 0) return '';
    const total = this.#includeUsage
      ? `${this.#head}"choices":[],"usage":${JSON.stringify(writeUsage(this.#usage))}}\n\n`
      : '';
    return `${total}data: [DONE]\n\n`;
  }
}

/** Chunks of one choice of a completion. */
export class ChunkWriter implements StreamWriter {
  readonly #stream: ChunkStream;
  readonly #choice: number;
  #calls = -1;
  /** Whether the open call is of a custom tool. */
  #isCustom = false;
  #spoke = false;
  /** A message is whole, and no later one was told. */
  #isBetween = false;
  /** What a model thought was told already, of an answer that began anew. */
  #isAnew = false;
  #thoughts = 0;
  /** A thought has begun that follows another. */
  #isBetweenThoughts = false;
  readonly tellsCancelled = false;
  readonly #told = new ToldText();

  constructor(stream: ChunkStream, choice: number) {
    this.#stream = stream;
    this.#choice = choice;
  }

  write(event: TurnEvent): string {
    switch (event.type) {
      case 'queued':
        return '';
      case 'started':
        this.#stream.begin(event.turn);
        return '';
      case 'opened':
        return this.#opened(event.item);
      case 'text':
        return this.#text(event.index, event.delta, event.logprobs);
      case 'reasoning':
        return this.#thought(event.delta);
      case 'refusal':
        return this.#delta(`{"refusal":${JSON.stringify(event.delta)}}`);
      case 'arguments':
        return parseId('call', event.itemId) === undefined ? '' : this.#arguments(JSON.stringify(event.delta));
      case 'restarted':
        if (this.#calls >= 0) throw toldOtherwise();
        this.#told.restart(event.index);
        this.#isBetween = false;
        this.#isAnew = true;
        return '';
      case 'closed':
        if (isSaid(event.item)) this.#isBetween = true;
        return '';
      case 'stepped':
        this.#isAnew = false;
        return '';
      case 'cited':
      case 'compacted':
      case 'called':
      case 'acting':
      case 'bridged':
        return '';
      case 'finished':
        return this.#finished(event.outcome, event.usage);
    }
  }

  failure(body: ErrorBody): string {
    return `data: ${JSON.stringify(body)}\n\n`;
  }

  /** By its older name there is one call at the most. */
  #functionCall(call: string): string {
    return this.#calls > 0 ? '' : this.#delta(`{"function_call":${call}}`);
  }

  #arguments(delta: string): string {
    if (this.#stream.asksFunctions) return this.#functionCall(`{"arguments":${delta}}`);
    const piece = this.#isCustom ? `"custom":{"input":${delta}}` : `"function":{"arguments":${delta}}`;
    return this.#delta(`{"tool_calls":[{"index":${this.#calls},${piece}}]}`);
  }

  #thought(delta: string): string {
    if (this.#isAnew) return '';
    const text = this.#isBetweenThoughts ? between + delta : delta;
    this.#isBetweenThoughts = false;
    return this.#delta(`{"reasoning_content":${JSON.stringify(text)}}`);
  }

  #text(index: number, delta: string, logprobs: readonly unknown[] | undefined): string {
    const rest = this.#told.tell(index, delta);
    if (rest === '') return '';
    const text = this.#isBetween ? between + rest : rest;
    this.#isBetween = false;
    const told = logprobs === undefined ? 'null' : JSON.stringify({ content: logprobs, refusal: null });
    return this.#delta(`{"content":${JSON.stringify(text)}}`, told);
  }

  #opened(item: Item): string {
    const role = this.#role();
    if (item.kind === 'reasoning') this.#isBetweenThoughts = this.#thoughts++ > 0;
    if (item.kind !== 'call') return role;
    this.#calls += 1;
    if (this.#stream.asksFunctions) {
      return role + this.#functionCall(JSON.stringify({ name: item.name, arguments: '' }));
    }
    this.#isCustom = item.custom === true;
    const head = { index: this.#calls, id: item.callId };
    const call = this.#isCustom
      ? { ...head, type: 'custom', custom: { name: item.name, input: '' } }
      : { ...head, type: 'function', function: { name: item.name, arguments: '' } };
    return role + this.#delta(JSON.stringify({ tool_calls: [call] }));
  }

  /** The first chunk names the role, once. */
  #role(): string {
    if (this.#spoke) return '';
    this.#spoke = true;
    return this.#delta('{"role":"assistant","content":"","refusal":null}');
  }

  #delta(delta: string, logprobs = 'null'): string {
    return this.#stream.chunk(`{"index":${this.#choice},"delta":${delta},"logprobs":${logprobs},"finish_reason":null}`);
  }

  #finished(outcome: TurnOutcome, usage: Usage): string {
    if (outcome.state === 'failed' || outcome.state === 'cancelled') return '';
    if (this.#told.isOwed) throw toldOtherwise();
    const finish = finishReason(outcome, this.#stream.asksFunctions);
    const last = `{"index":${this.#choice},"delta":{},"logprobs":null,"finish_reason":"${finish}"}`;
    return `${this.#role()}${this.#stream.chunk(last)}${this.#stream.end(usage)}`;
  }
}

function isSaid(item: Item): boolean {
  return item.kind === 'message' && item.status === 'completed' && textOf(item.content) !== '';
}
