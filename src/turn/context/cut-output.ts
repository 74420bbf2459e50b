import { searchFound, writeFound, type FoundPassage, type Item } from '#conversation';
import { bytesPerToken, estimateTokens } from './tokens.ts';

const cutHere = '\n[The rest does not fit the context and was left out.]';

/** What a tool or a caller's function gave, at most so long; every other item as it is. */
export function cutOutput(item: Item, tokensMax: number): Item {
  if (item.kind === 'result') {
    const output = cutText(item.output, tokensMax);
    return output === item.output ? item : { ...item, output };
  }
  if (item.kind !== 'tool') return item;
  const { output, error } = item;
  if (estimateTokens(output ?? error ?? '') <= tokensMax) return item;
  const found = searchFound(item);
  if (found !== undefined) return { ...item, output: writeFound(cutFound(found, tokensMax)) };
  return output === null
    ? { ...item, error: cutText(error ?? '', tokensMax) }
    : { ...item, output: cutText(output, tokensMax) };
}

/** Between two characters. */
function cutText(text: string, tokensMax: number): string {
  if (estimateTokens(text) <= tokensMax) return text;
  const bytes = Buffer.from(text).subarray(0, Math.max(tokensMax * bytesPerToken - cutHere.length, 0));
  // A decoder that waits for more keeps back the half of a character.
  return new TextDecoder().decode(bytes, { stream: true }) + cutHere;
}

/** Whole passages, the best of them cut where even that is too long: one that is quoted in part says another thing. */
function cutFound(found: readonly FoundPassage[], tokensMax: number): readonly FoundPassage[] {
  let used = 0;
  const fitting = found.filter((passage) => {
    used += estimateTokens(writeFound([passage]));
    return used <= tokensMax;
  });
  const [best] = found;
  if (fitting.length > 0 || best === undefined) return fitting;
  const aroundTokens = estimateTokens(writeFound([{ ...best, text: '' }]));
  return [{ ...best, text: cutText(best.text, Math.max(tokensMax - aroundTokens, 0)) }];
}
