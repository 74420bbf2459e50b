import { UsherError } from '#base';
import { runTurn, type TurnRooms } from '#turn';
import type { Exchange, Route } from '../exchange.ts';
import { answerStreamed, answerWhole, type Telling } from './answer-exchange.ts';
import { refuseResponsesForm } from './other-wire.ts';
import { chatCompletionSchema, readChatRequest } from './read-chat-request.ts';
import { asksFunctions } from './read-functions.ts';
import { readBody } from './read-body.ts';
import { talkPolicy } from './talk-policy.ts';
import { ChunkStream, ChunkWriter, writeCompletion } from './write-completion.ts';

export function chatCompletionRoutes(rooms: TurnRooms): Route[] {
  return [
    {
      method: 'POST',
      path: '/v1/chat/completions',
      policy: talkPolicy,
      summary: 'Runs one turn over the messages sent with it: the caller keeps the conversation.',
      body: chatCompletionSchema,
      answer: 'The `chat.completion` object; with `stream: true` its chunks, and `[DONE]` at the end.',
      handle: (exchange) => createCompletion(rooms, exchange),
    },
  ];
}

async function createCompletion(rooms: TurnRooms, exchange: Exchange): Promise<void> {
  const sent = await exchange.json();
  refuseResponsesForm(sent);
  const body = readBody(chatCompletionSchema, sent);
  const request = await readChatRequest(rooms, exchange, body);
  const choices = body.n ?? 1;
  if (choices > 1 && request.stored) {
    throw new UsherError('invalid_request', 'More than one choice is not stored. Leave "store" out.', { param: 'n' });
  }
  // One choice that fails, fails the completion: the others are stopped.
  const failed = new AbortController();
  const signal = AbortSignal.any([exchange.signal, failed.signal]);
  const isLegacy = asksFunctions(body);
  const names = isLegacy ? { ...paramNames, tool_choice: 'function_call' } : paramNames;
  const telling: Telling = (relay) => runTurn(rooms, request, relay, signal).catch((error) => asWritten(error, names));
  if (body.stream === true) {
    const includeUsage = body.stream_options?.include_usage === true;
    const stream = new ChunkStream({ choices, includeUsage, asksFunctions: isLegacy });
    const voices = Array.from({ length: choices }, (_, choice) => {
      return { writer: new ChunkWriter(stream, choice), telling };
    });
    return answerStreamed(exchange, voices).finally(() => failed.abort());
  }
  const answering = Array.from({ length: choices }, () => answerWhole(telling));
  const answers = await Promise.all(answering).finally(() => failed.abort());
  exchange.setHeader('x-usher-release', answers[0]!.turn.release);
  exchange.sendJson(200, writeCompletion(answers, isLegacy));
}

/** What other wires call otherwise, as the caller of this one wrote it. */
const paramNames: Readonly<Record<string, string>> = {
  input: 'messages',
  'text.format': 'response_format',
  max_output_tokens: 'max_completion_tokens',
  'reasoning.effort': 'reasoning_effort',
};

/** @throws always, with the name that the field at fault has here */
function asWritten(error: unknown, names: typeof paramNames): never {
  const param = error instanceof UsherError && error.param !== undefined ? names[error.param] : undefined;
  if (!(error instanceof UsherError) || param === undefined) throw error;
  const { code, retryAfterMs } = error;
  const message = error.message.replaceAll(`"${error.param}"`, `"${param}"`);
  throw new UsherError(code, message, { param, cause: error, ...(retryAfterMs === undefined ? {} : { retryAfterMs }) });
}
