import { AsyncLocalStorage } from 'node:async_hooks';
import { Readable } from 'node:stream';
import type { FetchLike } from '@modelcontextprotocol/client';
import type { Egress, EgressMethod } from '#egress';
import { ToolFailure } from '../tool-failure.ts';

/** What belongs to one call and not to the session that it is made in. */
export interface McpCall {
  readonly signal: AbortSignal;
  readonly idempotencyKey: string | undefined;
}

interface RunningCall extends McpCall {
  /** What the server had us send besides. */
  answers: number;
  isOver: boolean;
  /** Aborted a while after that: what is still open of it ends. */
  readonly over: AbortSignal;
  end(error: unknown): void;
}

/** The call that a request is made for, so that its end is the end of the request. */
const currentCall = new AsyncLocalStorage<RunningCall>();

/**
 * Works as one call, until `signal` or until an answer breaks off: the client itself would wait for
 * the rest of it. What the work sends is told by the signal that it is given.
 */
export async function asCall<T>(
  { signal, idempotencyKey }: McpCall,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const broken = Promise.withResolvers<never>();
  const ending = new AbortController();
  const within = AbortSignal.any([signal, ending.signal]);
  const end = (error: unknown): void => {
    broken.reject(error);
    ending.abort(error);
  };
  const over = new AbortController();
  const running: RunningCall = { signal: within, idempotencyKey, answers: 0, isOver: false, over: over.signal, end };
  try {
    return await Promise.race([currentCall.run(running, () => work(within)), broken.promise]);
  } finally {
    running.isOver = true;
    // An answer that its server ends itself leaves its connection to the next call.
    setTimeout(() => over.abort(), leftOpenMs).unref();
  }
}

export interface McpFetchOptions {
  readonly egress: Egress;
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
}

/** All of one answer, streamed or not. */
const answerBytesMax = 4 * 1024 * 1024;
/**
 * A server may ask back while it works, such as whether we still listen, or break off an answer that it
 * wants to go on with; each is a request to it.
 */
const answersMax = 64;
const silenceMs = 300_000;
const leftOpenMs = 500;
/** For what is said after a call has ended: that it was cancelled, that the session is over. */
const afterwordMs = 2000;
const bodiless = new Set([101, 204, 205, 304]);

/** The client's `fetch`, by our one way out: to the declared address and to no other. */
export function mcpFetch({ egress, url, headers }: McpFetchOptions): FetchLike {
  return async (target, init = {}) => {
    const asked = new URL(target);
    if (asked.origin !== url.origin || asked.pathname !== url.pathname) {
      throw new ToolFailure('failed', "The tool's server names another address, which is not called.");
    }
    const given = Object.fromEntries(new Headers(init.headers));
    const call = currentCall.getStore();
    // The rest of an answer, while its call waits for it. A stream for the server's own news is not wanted: it would outlive its call.
    const isRest = init.method === 'GET' && given['last-event-id'] !== undefined && call?.isOver === false;
    if (init.method === 'GET' && !isRest) return new Response(null, { status: 405 });
    if (call !== undefined && isRest) countAnswer(call, 'broke off its answer');
    else if (call !== undefined && isAnswer(init.body)) countAnswer(call, 'asked back');
    const isWithin = call !== undefined && !call.isOver && !call.signal.aborted;
    const signal = isWithin ? AbortSignal.any([call.signal, call.over]) : AbortSignal.timeout(afterwordMs);
    const reply = await egress.open(
      {
        method: (init.method ?? 'GET') as EgressMethod,
        path: `${url.pathname}${url.search}`,
        headers: {
          'user-agent': 'usher',
          ...given,
          ...headers,
          ...(call?.idempotencyKey === undefined ? {} : { 'idempotency-key': call.idempotencyKey }),
        },
        ...(typeof init.body === 'string' ? { body: init.body } : {}),
      },
      silenceMs,
      signal,
    );
    const known = Object.entries(reply.headers).flatMap(([name, value]) =>
      value === undefined ? [] : [[name, Array.isArray(value) ? value.join(', ') : value] as [string, string]],
    );
    if (bodiless.has(reply.status)) {
      reply.body.destroy();
      return new Response(null, { status: reply.status, headers: known });
    }
    return new Response(Readable.toWeb(Readable.from(bounded(reply.body, call))) as ReadableStream<Uint8Array>, {
      status: reply.status,
      headers: known,
    });
  };
}

/** @throws ToolFailure for one too many, which ends the call */
function countAnswer(call: RunningCall, what: string): void {
  call.answers += 1;
  if (call.answers <= answersMax) return;
  const failure = new ToolFailure('failed', `The tool's server ${what} more than ${answersMax} times.`);
  call.end(failure);
  throw failure;
}

/** Whether it answers what the server asked, rather than asking or telling something itself. */
function isAnswer(body: unknown): boolean {
  return typeof body === 'string' && !('method' in (JSON.parse(body) as object));
}

async function* bounded(body: Readable, call: RunningCall | undefined): AsyncGenerator<Buffer> {
  let bytes = 0;
  try {
    for await (const chunk of body as AsyncIterable<Buffer>) {
      bytes += chunk.byteLength;
      if (bytes > answerBytesMax) throw new ToolFailure('failed', "The tool's server answered without an end.");
      yield chunk;
    }
  } catch (error) {
    call?.end(error);
    throw error;
  }
}
