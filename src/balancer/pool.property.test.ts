import { seededRandom } from '#base';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createPool } from './pool.ts';
import type { MemberOptions, Pool, Settlement, Ticket } from './port.ts';

/** Numbers that a broken or hostile backend may send. */
const absurd = fc.constantFrom(Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, -1, 1e300, 0.5);

const settlement: fc.Arbitrary<Settlement> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ result: fc.constant('answered'), outputTokens: fc.nat(600) }) },
  fc.record({ result: fc.constant('answered'), outputTokens: absurd }),
  fc.record({ result: fc.constant('limited'), retryAfterMs: absurd }),
  fc.constant<Settlement>({ result: 'neutral' }),
  {
    weight: 4,
    arbitrary: fc.record({
      result: fc.constant('failed'),
      kind: fc.constantFrom('connect', 'server', 'timeout', 'cut', 'garbage'),
    }),
  },
  fc.constant<Settlement>({ result: 'failed', kind: 'misconfigured' }),
  fc.record({ result: fc.constant('limited'), retryAfterMs: fc.option(fc.nat(20_000), { nil: undefined }) }),
);

const step = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('pick'),
      promptTokens: fc.integer({ min: 1, max: 3_000 }),
      blocks: fc.nat(12),
      conversation: fc.nat(3),
      exclude: fc.subarray(['m0', 'm1', 'm2', 'm3'], { maxLength: 2 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('token'), which: fc.nat(99) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('head'),
      which: fc.nat(99),
      requestsRemaining: fc.oneof(fc.nat(20), absurd),
      requestsResetMs: fc.oneof(fc.nat(90_000), absurd),
      tokensRemaining: fc.oneof(fc.nat(9_000), absurd),
      tokensResetMs: fc.oneof(fc.nat(90_000), absurd),
    }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('settle'), which: fc.nat(99), settlement }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('wait'), ms: fc.oneof(fc.nat(300), fc.nat(20_000)) }) },
);

type Step = typeof step extends fc.Arbitrary<infer Action> ? Action : never;

const members = fc
  .array(
    fc.record(
      {
        concurrency: fc.integer({ min: 1, max: 6 }),
        requestsPerMinute: fc.integer({ min: 1, max: 20 }),
        tokensPerMinute: fc.integer({ min: 2_000, max: 20_000 }),
      },
      { requiredKeys: ['concurrency'] },
    ),
    { minLength: 1, maxLength: 4 },
  )
  .map((options) => options.map((option, index): MemberOptions => ({ ...option, name: `m${index}` })));

interface Sent {
  readonly ticket: Ticket;
  readonly promptTokens: number;
  /** Prompt and answer as charged; 0 for what was not served. */
  tokens: number;
  open: boolean;
}

/** Replays steps on a pool and checks each promise after each step. */
class Checked {
  readonly #options: readonly MemberOptions[];
  readonly #pool: Pool;
  readonly #sent: Sent[] = [];
  #nowMs = 0;

  constructor(options: readonly MemberOptions[]) {
    this.#options = options;
    this.#pool = createPool({ members: options, random: seededRandom(options.length) });
  }

  apply(action: Step): void {
    switch (action.do) {
      case 'wait':
        this.#nowMs += action.ms;
        break;
      case 'pick':
        this.#pick(action);
        break;
      case 'token':
        this.#withTicket(action.which, ({ ticket }) => this.#pool.firstToken(ticket, this.#nowMs));
        break;
      case 'head':
        this.#withTicket(action.which, ({ ticket }) => this.#pool.head(ticket, action, this.#nowMs));
        break;
      case 'settle':
        this.#withTicket(action.which, (sent) => this.#settle(sent, action.settlement));
        break;
    }
    this.#conserves();
  }

  #pick(action: Extract<Step, { do: 'pick' }>): void {
    const { promptTokens, conversation } = action;
    const prefix = Array.from({ length: action.blocks }, (_, index) => `${index < 4 ? 's' : conversation}-${index}`);
    const exclude = new Set(action.exclude);
    const before = this.#pool.members(this.#nowMs);
    const pick = this.#pool.pick({ promptTokens, prefix, blockTokens: 128, exclude }, this.#nowMs);
    if (pick.result === 'none') {
      expect(pick.retryAfterMs).toBeGreaterThan(0);
      expect(pick.retryAfterMs).toBeLessThan(Number.POSITIVE_INFINITY);
      expect(pick.reason === 'exhausted').toBe(this.#options.every(({ name }) => exclude.has(name)));
      return;
    }
    const { ticket } = pick;
    expect(exclude.has(ticket.backend)).toBe(false);
    const view = before.find(({ name }) => name === ticket.backend)!;
    const healthy = before.filter(({ breaker }) => breaker === 'closed').length;
    const panic = before.length > 1 && healthy * 2 < before.length;
    if (!panic && view.breaker !== 'closed') {
      expect(view.breaker).toBe('open');
      expect(view.openUntilMs).toBeLessThanOrEqual(this.#nowMs);
    }
    this.#sent.push({ ticket, promptTokens, tokens: promptTokens, open: true });
    this.#keepsLimits(ticket.backend);
  }

  #settle(sent: Sent, settlement: Settlement): void {
    this.#pool.settle(sent.ticket, settlement, this.#nowMs);
    if (!sent.open) return;
    sent.open = false;
    const served =
      settlement.result !== 'limited' && !(settlement.result === 'failed' && settlement.kind === 'connect');
    if (!served) sent.tokens = 0;
  }

  #keepsLimits(name: string): void {
    const { requestsPerMinute, tokensPerMinute } = this.#options.find((option) => option.name === name)!;
    const recent = this.#sent.filter(
      ({ ticket }) => ticket.backend === name && ticket.pickedAtMs > this.#nowMs - 60_000,
    );
    if (requestsPerMinute !== undefined) expect(recent.length).toBeLessThanOrEqual(requestsPerMinute);
    if (tokensPerMinute !== undefined) {
      // A prompt larger than the whole limit may take an empty window: it counts as the whole.
      const charged = recent.reduce((sum, { tokens }) => sum + Math.min(tokens, tokensPerMinute), 0);
      expect(charged).toBeLessThanOrEqual(tokensPerMinute);
    }
  }

  #conserves(): void {
    for (const [index, view] of this.#pool.members(this.#nowMs).entries()) {
      const open = this.#sent.filter(({ ticket, open }) => open && ticket.backend === view.name).length;
      expect(view.inFlight).toBe(open);
      expect(view.inFlight).toBeLessThanOrEqual(this.#options[index]!.concurrency);
      expect(view.expectedWaitMs).toBeGreaterThan(0);
      expect(view.expectedWaitMs).toBeLessThan(Number.POSITIVE_INFINITY);
    }
  }

  /** Any ticket ever handed out, settled ones too: late and double calls must be harmless. */
  #withTicket(which: number, act: (sent: Sent) => void): void {
    if (this.#sent.length > 0) act(this.#sent[which % this.#sent.length]!);
  }
}

describe('a pool, under any order of calls', () => {
  test('loses no charge, keeps every limit, and sends nothing to the excluded, open or full', () => {
    fc.assert(
      fc.property(members, fc.array(step, { maxLength: 150 }), (options, steps) => {
        const checked = new Checked(options);
        for (const action of steps) checked.apply(action);
      }),
      { numRuns: 300 },
    );
  });

  test('is a pure function of its calls: the same seed and calls give the same picks', () => {
    fc.assert(
      fc.property(members, fc.array(fc.nat(2_000), { maxLength: 60 }), fc.nat(), (options, gapsMs, seed) => {
        const run = (): string[] => {
          const pool = createPool({ members: options, random: seededRandom(seed) });
          let nowMs = 0;
          return gapsMs.map((gapMs) => {
            nowMs += gapMs;
            const need = { promptTokens: gapMs, prefix: [], blockTokens: 128, exclude: new Set<string>() };
            const pick = pool.pick(need, nowMs);
            if (pick.result === 'none') return `${pick.reason} ${pick.retryAfterMs}`;
            if (gapMs % 3 > 0) pool.settle(pick.ticket, { result: 'neutral' }, nowMs);
            return pick.ticket.backend;
          });
        };
        expect(run()).toEqual(run());
      }),
    );
  });
});
