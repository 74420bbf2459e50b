import { distance } from 'fastest-levenshtein';

/**
 * The known word that a mistyped one most likely meant, or undefined where none is near: at most a
 * third of its letters (two for short words) may differ. Ties go to the earlier candidate.
 */
export function nearestWord(word: string, candidates: Iterable<string>): string | undefined {
  // Distance is quadratic in length: nobody mistypes a word this long.
  if (word.length > 100) return undefined;
  const most = Math.max(2, Math.floor(word.length / 3));
  let best: string | undefined;
  let bestDistance = Math.min(most, word.length - 1) + 1;
  for (const candidate of candidates) {
    const edits = distance(word.toLowerCase(), candidate.toLowerCase());
    if (edits < bestDistance) {
      best = candidate;
      bestDistance = edits;
    }
  }
  return best;
}
