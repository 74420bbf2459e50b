import { createHash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { SdkHttpError } from '@modelcontextprotocol/client';
import type { McpSession } from './mcp-session.ts';

/** Sessions kept at once; the one longest unused is given up. */
const sessionsMax = 200;
const idleMs = 300_000;

/**
 * Sessions with one server. Each person has their own, and another one for each authorisation: what
 * a server keeps for a session is never seen by somebody else.
 */
export class McpSessions {
  readonly #open: LRUCache<string, Promise<McpSession>>;

  constructor() {
    this.#open = new LRUCache({
      max: sessionsMax,
      ttl: idleMs,
      updateAgeOnGet: true,
    });
  }

  /** Works in the person's session. Where the server no longer knows it, in a new one, once. */
  async use<T>(
    person: readonly string[],
    open: () => Promise<McpSession>,
    work: (session: McpSession) => Promise<T>,
  ): Promise<T> {
    const key = createHash('sha256').update(JSON.stringify(person)).digest('hex');
    const known = this.#open.get(key);
    const opening = known ?? this.#openNew(key, open);
    try {
      return await work(await opening);
    } catch (error) {
      // Answered before the call was looked at, so it did not run and may be sent again.
      if (known === undefined || !isSessionGone(error)) throw error;
      if (this.#open.peek(key) === known) this.#open.delete(key);
      return work(await (this.#open.get(key) ?? this.#openNew(key, open)));
    }
  }

  #openNew(key: string, open: () => Promise<McpSession>): Promise<McpSession> {
    const opening = open();
    this.#open.set(key, opening);
    opening.catch(() => {
      if (this.#open.peek(key) === opening) this.#open.delete(key);
    });
    return opening;
  }

  async close(): Promise<void> {
    const open = [...this.#open.values()];
    this.#open.clear();
    await Promise.all(open.map(async (opening) => (await opening.catch(() => undefined))?.close()));
  }
}

/** 404 is the protocol's word for it; servers that keep no list of old sessions answer 400. */
function isSessionGone(error: unknown): boolean {
  return error instanceof SdkHttpError && (error.status === 404 || error.status === 400);
}
