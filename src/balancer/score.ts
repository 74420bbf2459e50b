/**
 * How long a request would wait for its first token on a backend.
 *
 *   units = (queued uncached prompt tokens + the request's own) x (requests in flight + 1)
 *   wait  = units x pace + penalty
 *
 * The product needs no weights: prompts ahead in the queue and answers that share the batch slow a
 * prefill multiplicatively. `pace` is learnt as a ratio of sums, milliseconds waited over units
 * predicted, so a few tiny prompts whose wait is all network cannot blow it up as a mean of ratios
 * would. Evidence fades: a backend that was slow once drifts back to its pool's pace and is tried
 * again, so none starves.
 *
 * `penalty` keeps failure apart from speed. A backend that fails in a millisecond looks idle and
 * fast; each failure therefore charges seconds of wait, which fade with time and are halved by an
 * answer, so that a mended backend is warmed up and not flooded.
 */

/** A prompt that is cached whole still costs a pass of the model. */
const passTokens = 32;
/** Ratios are over about the last ten answers. */
const keptPerSample = 0.9;
const evidenceHalfLifeMs = 60_000;
/** Before anything was measured, 1,000 prompt tokens a second. */
const unmeasuredMsPerUnit = 1;

const penaltyFloorMs = 5_000;
/** Where first tokens are slow, a failure must still cost more than waiting. */
const penaltyOfMeanWait = 4;
const penaltyMaxMs = 60_000;
const penaltyHalfLifeMs = 10_000;

const tieMs = 1;
const tieShare = 0.05;

/** Waits up to this tie with the shortest one: no prediction is better than a twentieth. */
export function tiedUpToMs(shortestMs: number): number {
  return shortestMs + Math.max(tieMs, shortestMs * tieShare);
}

export function uncachedTokens(promptTokens: number, cachedTokens: number): number {
  return Math.max(passTokens, promptTokens - cachedTokens);
}

export function waitUnits(queuedTokens: number, ownTokens: number, inFlight: number): number {
  return (queuedTokens + ownTokens) * (inFlight + 1);
}

/** Learns milliseconds per unit from first tokens. */
export class Pace {
  #waitedMs = 0;
  #units = 0;
  #samples = 0;
  #learntAtMs = 0;

  learn(units: number, waitedMs: number, nowMs: number): void {
    const kept = keptPerSample * halved(nowMs - this.#learntAtMs, evidenceHalfLifeMs);
    this.#samples = this.#samples * kept + 1;
    this.#waitedMs = this.#waitedMs * kept + waitedMs;
    this.#units = this.#units * kept + units;
    this.#learntAtMs = nowMs;
  }

  /** The measured pace, drawn towards `prior` with the weight of one answer. */
  msPerUnit(prior: number, nowMs: number): number {
    if (this.#samples === 0) return prior;
    const evidence = this.#samples * halved(nowMs - this.#learntAtMs, evidenceHalfLifeMs);
    return (evidence * (this.#waitedMs / this.#units) + prior) / (evidence + 1);
  }
}

/** What the members know together: the prior of one not measured, and the size of a penalty. */
export class PoolPace {
  readonly #pace = new Pace();
  #meanWaitMs = 0;

  learn(units: number, waitedMs: number, nowMs: number): void {
    this.#pace.learn(units, waitedMs, nowMs);
    this.#meanWaitMs += (waitedMs - this.#meanWaitMs) * (1 - keptPerSample);
  }

  msPerUnit(nowMs: number): number {
    return this.#pace.msPerUnit(unmeasuredMsPerUnit, nowMs);
  }

  penaltyMs(): number {
    return Math.max(penaltyFloorMs, this.#meanWaitMs * penaltyOfMeanWait);
  }
}

/** The wait charged for recent failures. */
export class Penalty {
  #chargedMs = 0;
  #chargedAtMs = 0;

  charge(addedMs: number, nowMs: number): void {
    this.#set(Math.min(Math.max(penaltyMaxMs, addedMs), this.ms(nowMs) + addedMs), nowMs);
  }

  halve(nowMs: number): void {
    if (this.#chargedMs > 0) this.#set(this.ms(nowMs) / 2, nowMs);
  }

  ms(nowMs: number): number {
    if (this.#chargedMs === 0) return 0;
    const leftMs = this.#chargedMs * halved(nowMs - this.#chargedAtMs, penaltyHalfLifeMs);
    // Below a tie it is over, so that mended members tie with the others again.
    return leftMs < tieMs ? 0 : leftMs;
  }

  #set(chargedMs: number, nowMs: number): void {
    this.#chargedMs = chargedMs;
    this.#chargedAtMs = nowMs;
  }
}

function halved(elapsedMs: number, halfLifeMs: number): number {
  return elapsedMs <= 0 ? 1 : 2 ** (-elapsedMs / halfLifeMs);
}
