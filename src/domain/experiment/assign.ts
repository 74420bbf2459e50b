import { hash } from 'node:crypto';

/** One side of a split. Shares are relative: 9 and 1 is the same as 90 and 10. */
export interface Side<T> {
  readonly share: number;
  readonly value: T;
}

/**
 * The side that a unit falls on: a pure function of salt and unit id, so every node answers the
 * same without asking. The unit's point in [0, 1) is the first 48 bits of SHA-256(salt NUL unit);
 * sides are laid along [0, 1) in their order, so growing the last side's coverage at the cost of
 * the one before it moves only units between those two.
 *
 * @throws RangeError when no side has a positive share.
 */
export function assign<T>(salt: string, unitId: string, sides: readonly Side<T>[]): T {
  const total = sides.reduce((sum, side) => sum + side.share, 0);
  if (!(total > 0)) throw new RangeError('a split needs a side with a positive share');
  const [only] = sides;
  if (only !== undefined && only.share === total) return only.value;
  let remaining = pointOf(salt, unitId) * total;
  for (const side of sides) {
    if (remaining < side.share) return side.value;
    remaining -= side.share;
  }
  // Only rounding of the sum leads here: the point lies at the very end of the last side.
  return sides.findLast((side) => side.share > 0)!.value;
}

/** The unit's point in [0, 1), the same on every machine. */
export function pointOf(salt: string, unitId: string): number {
  return Number.parseInt(hash('sha256', `${salt}\0${unitId}`).slice(0, 12), 16) / 2 ** 48;
}
