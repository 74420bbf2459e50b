import { Breaker, type Outcome, type Pass } from './breaker.ts';
import { Limits, type LimitCharge } from './limits.ts';
import type { BlockReason, LimitReport, MemberOptions, MemberView, Need, Settlement, Ticket } from './port.ts';
import { PrefixRecord } from './prefix.ts';
import { Pace, Penalty, type PoolPace, uncachedTokens, waitUnits } from './score.ts';

/**
 * One backend as the pool sees it, and the charges laid on it.
 *
 *   charged -> prefilled  first token: its prompt leaves the queue, its wait teaches the pace
 *   charged or prefilled -> settled   its slot is given back, once
 *
 * Load is charged at selection: charged at connect, a burst within one tick would all see the same
 * idle backend. A charge lives in its ticket, so giving back is one flag and no table can leak.
 */

/** Before any request has ended. */
const unmeasuredHoldMs = 1_000;
const holdKept = 0.9;

export class Charge implements Ticket {
  readonly member: Member;
  readonly pickedAtMs: number;
  readonly need: Need;
  readonly uncached: number;
  readonly units: number;
  pass: Pass;
  readonly limits: LimitCharge;
  stage: 'charged' | 'prefilled' | 'settled' = 'charged';

  constructor(member: Member, need: Need, uncached: number, units: number, nowMs: number) {
    this.member = member;
    this.pickedAtMs = nowMs;
    this.need = need;
    this.uncached = uncached;
    this.units = units;
    this.pass = member.breaker.admit(nowMs);
    this.limits = member.limits.charge(need.promptTokens, nowMs);
  }

  get backend(): string {
    return this.member.name;
  }
}

/** Why a member cannot take a request now, and for about how long. */
export interface Block {
  readonly reason: Exclude<BlockReason, 'exhausted'>;
  readonly waitMs: number;
}

export class Member {
  readonly name: string;
  readonly breaker = new Breaker();
  readonly limits: Limits;
  readonly #concurrency: number;
  readonly #poolPace: PoolPace;
  readonly #prefixes = new PrefixRecord();
  readonly #pace = new Pace();
  readonly #penalty = new Penalty();
  #inFlight = 0;
  #queuedTokens = 0;
  #meanHoldMs = unmeasuredHoldMs;

  constructor(options: MemberOptions, poolPace: PoolPace) {
    this.name = options.name;
    this.limits = new Limits(options.requestsPerMinute, options.tokensPerMinute);
    this.#concurrency = options.concurrency;
    this.#poolPace = poolPace;
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  /** What keeps it from taking the request now: the longest of its waits. `panic` ignores the breaker. */
  block(promptTokens: number, panic: boolean, nowMs: number): Block | undefined {
    const brokenMs = this.#brokenMs(panic, nowMs);
    const limitedMs = this.limits.waitMs(promptTokens, nowMs);
    const busyMs = this.#busyMs();
    if (brokenMs === 0 && limitedMs === 0 && busyMs === 0) return undefined;
    const waitMs = Math.max(brokenMs, limitedMs, busyMs);
    if (waitMs === brokenMs) return { reason: 'broken', waitMs };
    return { reason: waitMs === limitedMs ? 'limited' : 'busy', waitMs };
  }

  /** Predicted milliseconds to the first token. */
  waitMs(need: Need, nowMs: number): number {
    return this.#predictMs(this.#uncached(need, nowMs), nowMs);
  }

  charge(need: Need, nowMs: number): Charge {
    const uncached = this.#uncached(need, nowMs);
    const charge = new Charge(this, need, uncached, waitUnits(this.#queuedTokens, uncached, this.#inFlight), nowMs);
    this.#inFlight += 1;
    this.#queuedTokens += uncached;
    return charge;
  }

  head(charge: Charge, report: LimitReport, nowMs: number): void {
    if (charge.stage !== 'settled') this.limits.report(charge.limits, report, nowMs);
  }

  firstToken(charge: Charge, nowMs: number): void {
    if (charge.stage !== 'charged') return;
    charge.stage = 'prefilled';
    charge.pass = this.breaker.served(charge.pass, nowMs);
    this.#queuedTokens -= charge.uncached;
    const waitedMs = Math.max(0, nowMs - charge.pickedAtMs);
    this.#pace.learn(charge.units, waitedMs, nowMs);
    this.#poolPace.learn(charge.units, waitedMs, nowMs);
    this.#prefixes.remember(charge.need.prefix, nowMs);
  }

  settle(charge: Charge, settlement: Settlement, nowMs: number): void {
    if (charge.stage === 'settled') return;
    if (charge.stage === 'charged') this.#queuedTokens -= charge.uncached;
    charge.stage = 'settled';
    this.#inFlight -= 1;
    this.#meanHoldMs += (Math.max(0, nowMs - charge.pickedAtMs) - this.#meanHoldMs) * (1 - holdKept);
    const opened = this.breaker.settle(charge.pass, outcomeOf(settlement), nowMs);
    if (opened) this.#prefixes.forget();
    this.#learn(charge, settlement, nowMs);
  }

  view(nowMs: number): MemberView {
    const ownTokens = uncachedTokens(0, 0);
    const blockedMs = this.block(ownTokens, false, nowMs)?.waitMs ?? 0;
    return {
      name: this.name,
      inFlight: this.#inFlight,
      breaker: this.breaker.state,
      openUntilMs: this.breaker.openUntilMs,
      expectedWaitMs: blockedMs + this.#predictMs(ownTokens, nowMs),
    };
  }

  #learn(charge: Charge, settlement: Settlement, nowMs: number): void {
    switch (settlement.result) {
      case 'answered':
        this.#penalty.halve(nowMs);
        this.#prefixes.remember(charge.need.prefix, nowMs);
        this.limits.answered(charge.limits, settlement.outputTokens, nowMs);
        break;
      case 'limited':
        this.limits.refused(charge.limits, settlement.retryAfterMs, nowMs);
        break;
      case 'failed':
        this.#penalty.charge(this.#poolPace.penaltyMs(), nowMs);
        if (settlement.kind === 'connect') {
          // It was not reached, and has perhaps restarted.
          this.limits.unserved(charge.limits, nowMs);
          this.#prefixes.forget();
        }
        break;
      case 'neutral':
        break;
    }
  }

  #brokenMs(panic: boolean, nowMs: number): number {
    if (panic && !this.breaker.misconfigured) return 0;
    return this.breaker.waitMs(nowMs);
  }

  /** With n requests of mean length m under way, the next ends in about m / n. */
  #busyMs(): number {
    if (this.#inFlight < this.#concurrency) return 0;
    return Math.max(1, this.#meanHoldMs / Math.max(1, this.#inFlight));
  }

  #uncached(need: Need, nowMs: number): number {
    const cached = this.#prefixes.cachedBlocks(need.prefix, nowMs) * need.blockTokens;
    return uncachedTokens(need.promptTokens, cached);
  }

  #predictMs(ownTokens: number, nowMs: number): number {
    const msPerUnit = this.#pace.msPerUnit(this.#poolPace.msPerUnit(nowMs), nowMs);
    return waitUnits(this.#queuedTokens, ownTokens, this.#inFlight) * msPerUnit + this.#penalty.ms(nowMs);
  }
}

/** A backend that names its limit is alive: its limits hold it back, not its breaker. */
function outcomeOf(settlement: Settlement): Outcome {
  if (settlement.result === 'answered') return 'answered';
  if (settlement.result !== 'failed') return 'neutral';
  return settlement.kind === 'misconfigured' ? 'misconfigured' : 'failed';
}
