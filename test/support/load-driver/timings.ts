import { build, type Histogram } from 'hdr-histogram-js';
import type { Quantiles } from './load-plan.ts';

/** A histogram of durations: microseconds up to an hour, three significant digits. */
export class Timings {
  readonly #histogram: Histogram = build({
    lowestDiscernibleValue: 1,
    highestTrackableValue: 3_600_000_000,
    numberOfSignificantValueDigits: 3,
    useWebAssembly: false,
  });

  record(durationMs: number): void {
    this.#histogram.recordValue(Math.min(3_600_000_000, Math.max(1, Math.round(durationMs * 1000))));
  }

  quantiles(): Quantiles {
    const histogram = this.#histogram;
    const at = (percentile: number): number =>
      histogram.totalCount === 0 ? 0 : histogram.getValueAtPercentile(percentile) / 1000;
    return {
      count: histogram.totalCount,
      mean: histogram.totalCount === 0 ? 0 : histogram.mean / 1000,
      p50: at(50),
      p90: at(90),
      p99: at(99),
      p999: at(99.9),
      max: at(100),
    };
  }
}
