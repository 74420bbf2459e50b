import { seededRandom } from '#base';
import type { LoadPlan } from './load-plan.ts';

/** The intended send times in milliseconds from the start, ascending. */
export function schedule(plan: LoadPlan): Float64Array {
  const { ratePerSecond, count, arrival = 'constant', seed = 1 } = plan;
  if (!(count >= 1 && count <= 1_000_000)) throw new Error('count must be between 1 and 1,000,000');
  if (!(ratePerSecond > 0)) throw new Error('ratePerSecond must be above 0');
  const random = seededRandom(seed);
  const times = new Float64Array(count);
  let at = 0;
  for (let index = 0; index < count; index += 1) {
    times[index] = at;
    // Inverse transform of the exponential distribution: the gaps of a Poisson process.
    const gaps = arrival === 'constant' ? 1 : -Math.log(1 - random());
    at += (gaps * 1000) / ratePerSecond;
  }
  return times;
}
