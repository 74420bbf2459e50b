import { LRUCache } from 'lru-cache';
import { RequestLog } from './request-log.ts';

/**
 * Limits at the door, before any work is done for a turn.
 *
 * Per tenant: turns per minute, by the exact times of those admitted, and turns under way at once. A
 * refused turn is not charged, so a client that hammers is admitted as soon as one that waits. A slot
 * is given back by `release`, however often that is called: a forgotten branch cannot give back
 * somebody else's, and `finally` may always call it. Who is to leave a share of both limits to others
 * is refused while no more than that is free.
 *
 * Per user: turns per minute, for a bounded number of users. One who has been idle for a minute is
 * forgotten without loss; when more are active than fit, the one longest silent is forgotten and
 * starts afresh, and the tenant's own limit still holds.
 */

export interface AdmissionOptions {
  readonly requestsPerMinute: number;
  readonly concurrency: number;
}

export type Admittance =
  | { readonly result: 'admitted'; readonly release: (nowMs: number) => void }
  | { readonly result: 'refused'; readonly reason: 'rate' | 'concurrency'; readonly retryAfterMs: number };

/** The limits of one tenant. Exact within one process. */
export interface Admission {
  /** @param keptShare of both limits, left to others; 0 to below 1 */
  admit(nowMs: number, keptShare?: number): Admittance;
  /** Charges one turn that takes its place later, by `enter`. */
  charge(nowMs: number, keptShare?: number): Admittance;
  /** Takes a place, whether one is free or not; answers how to give it back. */
  enter(nowMs: number): (nowMs: number) => void;
  isFull(keptShare?: number): boolean;
  /** Turns admitted and not yet released. */
  readonly active: number;
}

export interface TurnLimiterOptions {
  readonly turnsPerMinute: number;
  /** Users remembered at once. */
  readonly usersMax: number;
}

export type TurnAdmittance =
  | { readonly result: 'admitted' }
  | { readonly result: 'refused'; readonly retryAfterMs: number };

/** Turns per minute of each user. Exact while no more than `usersMax` are active within a minute. */
export interface TurnLimiter {
  admit(user: string, nowMs: number): TurnAdmittance;
}

/** Before any turn has ended. */
const unmeasuredHoldMs = 1_000;
const holdKept = 0.9;

export function createAdmission(options: AdmissionOptions): Admission {
  const log = new RequestLog(options.requestsPerMinute);
  let active = 0;
  let meanHoldMs = unmeasuredHoldMs;

  const releaseOf = (admittedAtMs: number): ((nowMs: number) => void) => {
    let held = true;
    return (nowMs) => {
      if (!held) return;
      held = false;
      active -= 1;
      meanHoldMs += (Math.max(0, nowMs - admittedAtMs) - meanHoldMs) * (1 - holdKept);
    };
  };

  const waitFor = (nowMs: number, keptShare: number): Admittance | undefined => {
    const waitMs = log.waitMs(nowMs, Math.floor(options.requestsPerMinute * keptShare));
    return waitMs > 0 ? { result: 'refused', reason: 'rate', retryAfterMs: waitMs } : undefined;
  };

  const isFull = (keptShare = 0): boolean =>
    active >= options.concurrency - Math.floor(options.concurrency * keptShare);

  const enter = (nowMs: number): ((nowMs: number) => void) => {
    active += 1;
    return releaseOf(nowMs);
  };

  return {
    get active() {
      return active;
    },
    isFull,
    enter,
    charge(nowMs, keptShare = 0) {
      const refused = waitFor(nowMs, keptShare);
      if (refused !== undefined) return refused;
      log.add(nowMs);
      return { result: 'admitted', release: () => undefined };
    },
    admit(nowMs, keptShare = 0) {
      const refused = waitFor(nowMs, keptShare);
      if (refused !== undefined) return refused;
      if (isFull(keptShare)) {
        // With n turns of mean length m under way, the next ends in about m / n.
        return {
          result: 'refused',
          reason: 'concurrency',
          retryAfterMs: Math.max(1, meanHoldMs / Math.max(1, active)),
        };
      }
      log.add(nowMs);
      return { result: 'admitted', release: enter(nowMs) };
    },
  };
}

export function createTurnLimiter(options: TurnLimiterOptions): TurnLimiter {
  const logs = new LRUCache<string, RequestLog>({ max: options.usersMax });
  return {
    admit(user, nowMs) {
      let log = logs.get(user);
      if (log === undefined) {
        log = new RequestLog(options.turnsPerMinute);
        logs.set(user, log);
      }
      const waitMs = log.waitMs(nowMs);
      if (waitMs > 0) return { result: 'refused', retryAfterMs: waitMs };
      log.add(nowMs);
      return { result: 'admitted' };
    },
  };
}
