/** The constant of reciprocal rank fusion, as measured by its authors. */
const rankOffset = 60;

/**
 * Several rankings of the same rows as one, best first: each row scores the sum of 1 / (60 + its rank) over
 * the rankings that hold it (reciprocal rank fusion; Cormack, Clarke and Büttcher, SIGIR 2009). It needs
 * no scores, so that those of different searches need not be comparable.
 */
export function fuseRanks(
  rankings: readonly (readonly number[])[],
): readonly { readonly row: number; readonly score: number }[] {
  const scores = new Map<number, number>();
  for (const ranking of rankings) {
    for (const [at, row] of ranking.entries()) scores.set(row, (scores.get(row) ?? 0) + 1 / (rankOffset + at + 1));
  }
  // A stable sort: of equal ones, what the first ranking put first stays first.
  return [...scores].map(([row, score]) => ({ row, score })).sort((one, other) => other.score - one.score);
}
