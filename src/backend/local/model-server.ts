import { createHash, timingSafeEqual } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { readChatRequest, type ChatRequest } from './chat-request.ts';
import type { Generated, LocalModel } from './local-model.ts';

const bodyBytesMax = 8 * 1024 * 1024;
/** Requests that wait for the model; each may take a minute, so that more would wait in vain. */
const waitingMax = 8;
const retryAfterSeconds = 5;
/** Room that an answer needs at the least. */
const answerTokensMin = 16;

/** The OpenAI wire over one local model: `POST /v1/chat/completions`, streamed, and `GET /v1/models`. */
export function createModelServer(model: LocalModel, token: string): Server {
  const line = new Line();
  const expected = digest(`Bearer ${token}`);
  const server = createServer((request, response) => {
    response.on('error', () => undefined);
    if (!timingSafeEqual(digest(request.headers.authorization ?? ''), expected)) {
      refuse(response, 401, 'invalid_api_key');
    } else if (request.method === 'GET' && request.url === '/v1/models') {
      sendJson(response, 200, { object: 'list', data: [{ id: 'local', object: 'model', owned_by: 'local' }] });
    } else if (request.method === 'POST' && request.url === '/v1/chat/completions') {
      void answer(model, line, request, response);
    } else {
      refuse(response, 404, 'not_found');
    }
  });
  return server;
}

async function answer(
  model: LocalModel,
  line: Line,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const gone = new AbortController();
  response.once('close', () => gone.abort());
  const chat = readChatRequest(await readBody(request));
  if (chat === undefined) {
    refuse(response, 400, 'unsupported_request');
    return;
  }
  if (model.promptTokens(chat) + answerTokensMin > model.contextTokens) {
    refuse(response, 400, 'context_length_exceeded');
    return;
  }
  const leave = await line.enter(gone.signal);
  if (leave === undefined) {
    response.setHeader('retry-after', retryAfterSeconds);
    refuse(response, 429, 'model_busy');
    return;
  }
  try {
    if (!gone.signal.aborted) await stream(model, chat, response, gone.signal);
  } catch {
    // A stream without its end marker is known to be broken.
    response.destroy();
  } finally {
    leave();
  }
}

async function stream(
  model: LocalModel,
  chat: ChatRequest,
  response: ServerResponse,
  signal: AbortSignal,
): Promise<void> {
  response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
  response.flushHeaders();
  const tell = (text: string, isReasoning: boolean): void => {
    if (text === '' || signal.aborted) return;
    response.write(chunkOf(isReasoning ? { reasoning_content: text } : { content: text }, null));
  };
  const generated = await model.generate(chat, tell, signal);
  if (signal.aborted) return;
  response.write(chunkOf({}, generated.finish));
  if (chat.wantsUsage) response.write(usageOf(generated));
  response.end('data: [DONE]\n\n');
}

function chunkOf(delta: object, finish: string | null): string {
  return eventOf({ choices: [{ index: 0, delta, finish_reason: finish }] });
}

function usageOf(generated: Generated): string {
  const usage = {
    prompt_tokens: generated.promptTokens,
    completion_tokens: generated.completionTokens,
    total_tokens: generated.promptTokens + generated.completionTokens,
    prompt_tokens_details: { cached_tokens: generated.cachedTokens },
  };
  return eventOf({ choices: [], usage });
}

function eventOf(fields: object): string {
  return `data: ${JSON.stringify({ object: 'chat.completion.chunk', model: 'local', ...fields })}\n\n`;
}

/** Undefined where the body is too large or not JSON. */
async function readBody(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of request as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      if (bytes > bodyBytesMax) return undefined;
      chunks.push(chunk);
    }
    return JSON.parse(Buffer.concat(chunks).toString());
  } catch {
    return undefined;
  }
}

function refuse(response: ServerResponse, status: number, code: string): void {
  sendJson(response, status, { error: { message: code, type: 'invalid_request_error', code } });
}

function sendJson(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
}

/** Equal lengths for the comparison in constant time. */
function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

/** One at a time, first come first served, no more waiting than `waitingMax`. */
class Line {
  readonly #waiting: (() => void)[] = [];
  #isTaken = false;

  /** Answers how to leave again; undefined where too many wait, or where the one who waited has gone. */
  async enter(gone: AbortSignal): Promise<(() => void) | undefined> {
    if (this.#isTaken) {
      const isFull = this.#waiting.length >= waitingMax;
      if (isFull || !(await this.#isCalled(gone))) return undefined;
    }
    this.#isTaken = true;
    return () => this.#leave();
  }

  /** Settles with true when it is this one's turn, with false when it has gone before. */
  #isCalled(gone: AbortSignal): Promise<boolean> {
    return new Promise((resolve) => {
      const onTurn = (): void => resolve(true);
      this.#waiting.push(onTurn);
      const onGone = (): void => {
        const place = this.#waiting.indexOf(onTurn);
        if (place === -1) return;
        this.#waiting.splice(place, 1);
        resolve(false);
      };
      gone.addEventListener('abort', onGone, { once: true });
    });
  }

  /** Hands the model to the next one, so that nobody slips in between. */
  #leave(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#isTaken = false;
    else next();
  }
}
