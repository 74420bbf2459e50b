import OpenAI, { APIError } from 'openai';
import { setTimeout as delay } from 'node:timers/promises';
import type { UsherProcess } from '#test/process';
import { accumulated, isGapless, plain } from '#test/response-oracle';
import type { Fleet } from './fleet.ts';

type Event = OpenAI.Responses.ResponseStreamEvent;

export type TurnKind = 'streamed' | 'background' | 'background-streamed' | 'tool' | 'idempotent-tool';

/** What one client saw of one turn. */
export interface Talked {
  readonly kind: TurnKind;
  /** What is wrong, each in words; empty where every promise held. */
  readonly problems: readonly string[];
  /** From the loss of its connection to the first event after it; undefined where it was never lost. */
  readonly resumedMs: number | undefined;
  readonly retries: number;
}

const giveUpMs = 90_000;
const words = 'Row seven has the best view of the stage and the shortest way to the bar in the interval';

/**
 * Asks for one turn at one node and hears it to its end, wherever that is made: a client that knows
 * nothing of nodes but their addresses.
 */
export async function talk(fleet: Fleet, kind: TurnKind, at: number, id: number): Promise<Talked> {
  const said = `Answer ${id}: ${words}.`;
  const tool = kind === 'tool' ? 'book' : kind === 'idempotent-tool' ? 'reserve' : undefined;
  const call = tool === undefined ? '' : `[[sim:call ${tool} {"seat":${id}}]] `;
  const input = `${call}[[sim:pace 40]] [[sim:say ${said}]]`;
  const ear = new Ear(fleet, at, { model: 'guest', input, background: kind.startsWith('background') });
  const problems: string[] = [];
  try {
    await ear.hear(kind !== 'background');
  } catch (error) {
    return { kind, problems: [`never ended: ${String(error)}`], resumedMs: ear.resumedMs, retries: ear.retries };
  }
  const stored = await ear.stored();
  if (stored.status !== 'completed') problems.push(`ended as ${stored.status}: ${JSON.stringify(stored.error)}`);
  else if (stored.output_text !== said) problems.push(`says ${JSON.stringify(stored.output_text)}`);
  if (!isGapless(ear.events, 0)) problems.push(`numbers ${ear.events.map((event) => event.sequence_number).join(' ')}`);
  const seen = await accumulated(ear.events).catch((error: unknown) => String(error));
  if (JSON.stringify(seen) !== JSON.stringify(plain(stored))) {
    problems.push(
      `the client has ${JSON.stringify(seen).slice(0, 600)}, stored is ${JSON.stringify(plain(stored)).slice(0, 600)}`,
    );
  }
  if (tool !== undefined) {
    const calls = stored.output.filter((item) => item.type === 'mcp_call').length;
    if (calls !== 1) problems.push(`has ${calls} calls of its tool`);
  }
  return { kind, problems, resumedMs: ear.resumedMs, retries: ear.retries };
}

interface Asked {
  readonly model: string;
  readonly input: string;
  readonly background: boolean;
}

/** One client: it goes to the next node when a connection breaks. */
class Ear {
  readonly events: Event[] = [];
  resumedMs: number | undefined;
  retries = 0;
  readonly #fleet: Fleet;
  readonly #body: Asked;
  #at: number;
  #id: string | undefined;
  #lostAtMs: number | undefined;

  constructor(fleet: Fleet, at: number, body: Asked) {
    this.#fleet = fleet;
    this.#at = at;
    this.#body = body;
  }

  async hear(streamed: boolean): Promise<void> {
    const untilMs = performance.now() + giveUpMs;
    for (;;) {
      try {
        if (await this.#listen(streamed)) return;
      } catch (error) {
        if (performance.now() > untilMs) throw error;
        if (error instanceof APIError && error.status === 400) throw error;
      }
      this.#lostAtMs ??= performance.now();
      this.retries += 1;
      this.#at += 1;
      await delay(200);
    }
  }

  async stored(): Promise<OpenAI.Responses.Response> {
    for (let attempt = 0; ; attempt += 1) {
      try {
        return await this.#client().responses.retrieve(this.#id ?? '');
      } catch (error) {
        if (attempt > 100) throw error;
        this.#at += 1;
        await delay(200);
      }
    }
  }

  /** Whether the terminal event came. */
  async #listen(streamed: boolean): Promise<boolean> {
    if (this.#id === undefined && !streamed) {
      this.#id = (await this.#client().responses.create(this.#body, { headers: this.#headers() })).id;
    }
    const stream = await this.#open();
    for await (const event of stream) {
      if (this.#lostAtMs !== undefined && event.sequence_number > 0) {
        this.resumedMs = performance.now() - this.#lostAtMs;
        this.#lostAtMs = undefined;
      }
      if (event.type === 'response.created') this.#id = event.response.id;
      this.events.push(event);
      if (isTerminal(event)) return true;
    }
    return false;
  }

  #open(): Promise<AsyncIterable<Event>> {
    const client = this.#client();
    const last = this.events.at(-1)?.sequence_number;
    if (this.#id === undefined) {
      return client.responses.create({ ...this.#body, stream: true }, { headers: this.#headers() });
    }
    const query = last === undefined ? {} : { starting_after: last };
    return client.responses.retrieve(this.#id, { stream: true, ...query });
  }

  #headers(): Record<string, string> {
    return this.retries === 0 ? {} : { 'X-Stainless-Retry-Count': String(this.retries) };
  }

  #client(): OpenAI {
    const node: UsherProcess = this.#fleet.nodes[this.#at % this.#fleet.nodes.length]!;
    return new OpenAI({ baseURL: `${node.url}/v1`, apiKey: this.#fleet.apiKey, maxRetries: 0, timeout: 60_000 });
  }
}

function isTerminal({ type }: Event): boolean {
  return type === 'response.completed' || type === 'response.incomplete' || type === 'response.failed';
}
