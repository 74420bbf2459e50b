import OpenAI, { APIError } from 'openai';
import { setTimeout as delay } from 'node:timers/promises';
import { accumulated, isGapless, plain } from '#test/response-oracle';
import type { Fleet } from './fleet.ts';
import { differences, type Asked, type Script, type TurnKind } from './script.ts';

type Event = OpenAI.Responses.ResponseStreamEvent;

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

/**
 * Asks for one turn at one door and hears it to its end, wherever that is made: a client that knows
 * nothing of nodes but the addresses of their doors.
 */
export async function talk(fleet: Fleet, script: Script, at: number, struck: Promise<unknown>): Promise<Talked> {
  const { kind, body } = script;
  const ear = new Ear(fleet, at, body);
  const problems: string[] = [];
  const person = script.person?.(struck).catch((error: unknown) => {
    problems.push(`the person at the desk: ${String(error)}`);
  });
  try {
    await ear.hear(kind !== 'background');
    await person;
  } catch (error) {
    problems.push(`never ended: ${String(error)}`);
    return { kind, problems, resumedMs: ear.resumedMs, retries: ear.retries };
  }
  const stored = await ear.stored();
  problems.push(...(await differences(fleet, script, stored)));
  if (!isGapless(ear.events, 0)) problems.push(`numbers ${ear.events.map((event) => event.sequence_number).join(' ')}`);
  const seen = await accumulated(ear.events).catch((error: unknown) => String(error));
  if (JSON.stringify(seen) !== JSON.stringify(plain(stored))) {
    problems.push(
      `the client has ${JSON.stringify(seen).slice(0, 600)}, stored is ${JSON.stringify(plain(stored)).slice(0, 600)}`,
    );
  }
  // Who waits for a person hears on when that one answers: no measure of the cluster.
  return { kind, problems, resumedMs: person === undefined ? ear.resumedMs : undefined, retries: ear.retries };
}

/** One client: it goes to the next door when a connection breaks. */
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
      const made = await this.#client().responses.create(
        { ...this.#body, stream: false },
        { headers: this.#headers() },
      );
      this.#id = made.id;
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
    const { doors, apiKey } = this.#fleet;
    const door = doors[this.#at % doors.length]!;
    return new OpenAI({ baseURL: `${door.url}/v1`, apiKey, maxRetries: 0, timeout: 60_000 });
  }
}

function isTerminal({ type }: Event): boolean {
  return type === 'response.completed' || type === 'response.incomplete' || type === 'response.failed';
}
