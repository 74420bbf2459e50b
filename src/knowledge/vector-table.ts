import { setImmediate as otherWork } from 'node:timers/promises';

/** Vectors of passages, each of length 1, one after another. */
export interface VectorTable {
  /** Numbers in each vector. */
  readonly dimensions: number;
  /** The passage of each vector. */
  readonly rows: readonly number[];
  readonly numbers: Float32Array;
}

/** Products after which others get the event loop: a millisecond or two. */
const productsAtOnce = 1_000_000;

/**
 * The vectors of passages in order, undefined where there is none. Undefined where none can be compared.
 * Vectors of another length than the first are of another model, and left out.
 */
export function tableOf(vectors: readonly (Float32Array | undefined)[]): VectorTable | undefined {
  const dimensions = vectors.find((vector) => vector !== undefined)?.length ?? 0;
  if (dimensions === 0) return undefined;
  const rows = vectors.flatMap((vector, row) => (vector?.length === dimensions ? [row] : []));
  const numbers = new Float32Array(rows.length * dimensions);
  for (const [at, row] of rows.entries()) putNormalised(numbers, at * dimensions, vectors[row]!);
  return { dimensions, rows, numbers };
}

/**
 * Rows whose vectors point most nearly where the question's does (cosine), nearest first; none that
 * points away. Every vector is looked at: exact, and fast enough for the passages of one release.
 */
export async function nearestRows(
  table: VectorTable,
  question: Float32Array,
  most: number,
): Promise<readonly number[]> {
  const { dimensions, rows, numbers } = table;
  if (question.length !== dimensions) return [];
  const sought = new Float32Array(dimensions);
  putNormalised(sought, 0, question);
  const found: { row: number; likeness: number }[] = [];
  const rowsAtOnce = Math.max(1, Math.floor(productsAtOnce / dimensions));
  for (let from = 0; from < rows.length; from += rowsAtOnce) {
    if (from > 0) await otherWork();
    const end = Math.min(rows.length, from + rowsAtOnce);
    for (let at = from; at < end; at += 1) {
      const likeness = product(numbers, at * dimensions, sought);
      if (likeness > 0) found.push({ row: rows[at]!, likeness });
    }
  }
  return found
    .sort((one, other) => other.likeness - one.likeness)
    .slice(0, most)
    .map(({ row }) => row);
}

/** Four sums side by side: the processor need not wait for one to add to the next. */
function product(numbers: Float32Array, start: number, sought: Float32Array): number {
  let [one, two, three, four] = [0, 0, 0, 0];
  const { length } = sought;
  const whole = length - (length % 4);
  let at = 0;
  for (; at < whole; at += 4) {
    const from = start + at;
    one += numbers[from]! * sought[at]!;
    two += numbers[from + 1]! * sought[at + 1]!;
    three += numbers[from + 2]! * sought[at + 2]!;
    four += numbers[from + 3]! * sought[at + 3]!;
  }
  for (; at < length; at += 1) one += numbers[start + at]! * sought[at]!;
  return one + two + three + four;
}

/** Of length 1; one without direction becomes zero, and is near to nothing. */
function putNormalised(numbers: Float32Array, start: number, vector: Float32Array): void {
  let squares = 0;
  for (let at = 0; at < vector.length; at += 1) squares += vector[at]! * vector[at]!;
  const length = Math.sqrt(squares);
  if (!(length > 0) || length === Infinity) return;
  for (let at = 0; at < vector.length; at += 1) numbers[start + at] = vector[at]! / length;
}
