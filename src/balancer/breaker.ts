import { BucketWindow } from './bucket-window.ts';
import type { BreakerState } from './port.ts';

/**
 * The breaker of one backend.
 *
 *   closed  -> open     five failures in a row; or at least half of ten or more outcomes within ten
 *                       seconds failed; or one `misconfigured` (the next call would fail the same)
 *   open    -> probing  a request is sent after the open period has passed: exactly one
 *   probing -> closed   its first token came: waiting for the whole answer would keep a mended backend
 *                       out for as long as a model talks, and a pool of one down with it
 *   probing -> open     it failed: twice the period, up to 30 s
 *   probing -> open     it said nothing of the backend (the client left): due again at once
 *   open    -> closed   the first token of a request sent after the opening, by panic
 *
 * Each opening and closing begins a new epoch, and an outcome counts only in the epoch in which its
 * request was sent. So failures that trickle in after an opening neither shorten nor lengthen the
 * period, and late answers of requests sent before the outage do not close it. The request whose
 * first token closed the breaker goes on in the new epoch: cut later, it counts as a failure there.
 *
 * Outcomes are counted exactly, by second. Rejected: decaying averages, in which an hour of health
 * outvotes a total outage; a count of failures alone, which opens on a busy backend's ordinary one
 * per cent. There is no jitter: one probe at a time is no herd, and the same history always gives
 * the same state.
 */

const consecutiveMax = 5;
const windowMs = 10_000;
const outcomesMin = 10;
const failedShare = 0.5;
const openFirstMs = 1_000;
const openMaxMs = 30_000;
/** Closed for this long, a backend begins again with the first period. */
const forgivenAfterMs = 60_000;

export type Outcome = 'answered' | 'failed' | 'misconfigured' | 'neutral';

/** What a request carries from `admit`, by way of `served`, to `settle`. */
export interface Pass {
  readonly epoch: number;
  readonly probe: boolean;
}

export class Breaker {
  #state: BreakerState = 'closed';
  #epoch = 0;
  #openUntilMs = 0;
  #closedAtMs = 0;
  #openings = 0;
  #consecutive = 0;
  #misconfigured = false;
  readonly #failed = new BucketWindow(windowMs, 1_000);
  readonly #outcomes = new BucketWindow(windowMs, 1_000);

  get state(): BreakerState {
    return this.#state;
  }

  /** When the open period ends or ended; undefined while closed. */
  get openUntilMs(): number | undefined {
    return this.#state === 'closed' ? undefined : this.#openUntilMs;
  }

  /** True while the last opening was for the owner's own configuration: panic does not help there. */
  get misconfigured(): boolean {
    return this.#misconfigured;
  }

  probeDue(nowMs: number): boolean {
    return this.#state === 'open' && nowMs >= this.#openUntilMs;
  }

  /** Milliseconds until it lets a request through; an unfinished probe counts as one first period. */
  waitMs(nowMs: number): number {
    if (this.#state === 'closed') return 0;
    return this.#state === 'probing' ? openFirstMs : Math.max(0, this.#openUntilMs - nowMs);
  }

  /** A request is sent: the probe, if one is due. The caller decides whether an open breaker is obeyed. */
  admit(nowMs: number): Pass {
    const probe = this.probeDue(nowMs);
    if (probe) this.#state = 'probing';
    return { epoch: this.#epoch, probe };
  }

  /** The first token came. @returns the pass to go on with. */
  served(pass: Pass, nowMs: number): Pass {
    if (pass.epoch !== this.#epoch || this.#state === 'closed') return pass;
    this.#close(nowMs);
    return { epoch: this.#epoch, probe: false };
  }

  /** An answer without any token counts as one. @returns whether this outcome opened it. */
  settle(pass: Pass, outcome: Outcome, nowMs: number): boolean {
    if (pass.epoch !== this.#epoch) return false;
    if (this.#state === 'closed') return this.#count(outcome, nowMs);
    if (outcome === 'answered') {
      this.#close(nowMs);
    } else if (pass.probe && outcome === 'neutral') {
      this.#state = 'open';
    } else if (pass.probe) {
      this.#open(outcome === 'misconfigured', nowMs);
      return true;
    }
    return false;
  }

  #count(outcome: Outcome, nowMs: number): boolean {
    if (outcome === 'neutral') return false;
    this.#outcomes.add(1, nowMs);
    if (outcome === 'answered') {
      this.#consecutive = 0;
      return false;
    }
    this.#failed.add(1, nowMs);
    this.#consecutive += 1;
    if (outcome !== 'misconfigured' && !this.#trips(nowMs)) return false;
    if (nowMs - this.#closedAtMs >= forgivenAfterMs) this.#openings = 0;
    this.#open(outcome === 'misconfigured', nowMs);
    return true;
  }

  #trips(nowMs: number): boolean {
    if (this.#consecutive >= consecutiveMax) return true;
    const outcomes = this.#outcomes.total(nowMs);
    return outcomes >= outcomesMin && this.#failed.total(nowMs) >= outcomes * failedShare;
  }

  #open(misconfigured: boolean, nowMs: number): void {
    const periodMs = misconfigured ? openMaxMs : Math.min(openMaxMs, openFirstMs * 2 ** this.#openings);
    this.#state = 'open';
    this.#epoch += 1;
    this.#openings += 1;
    this.#misconfigured = misconfigured;
    this.#openUntilMs = nowMs + periodMs;
  }

  #close(nowMs: number): void {
    this.#state = 'closed';
    this.#epoch += 1;
    this.#closedAtMs = nowMs;
    this.#consecutive = 0;
    this.#misconfigured = false;
    this.#failed.clear();
    this.#outcomes.clear();
  }
}
