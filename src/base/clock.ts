/** The only sources of time. Pure code takes `nowMs` instead. */
export interface Clock {
  /** Wall time in epoch milliseconds: for what is stored or shown. */
  wallMs(): number;
  /** Monotonic milliseconds, fractional: for durations, leases and deadlines. */
  monotonicMs(): number;
}

export const systemClock: Clock = {
  wallMs: () => Date.now(),
  monotonicMs: () => performance.now(),
};
