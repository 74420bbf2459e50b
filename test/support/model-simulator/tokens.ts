import { seededRandom } from '#base';

const piece = /\s?\S{1,6}|\s+/gu;

/** Splits text into its tokens: up to six characters with the blank before them. Joined, they are the text again. */
export function tokenize(text: string): string[] {
  return text.match(piece) ?? [];
}

/** FNV-1a over UTF-16 units, chained by `seed`: 32 bits are plenty for a cache of some thousand blocks. */
export function hashText(text: string, seed = 0x811c9dc5): number {
  let hash = seed;
  for (let index = 0; index < text.length; index += 1) {
    hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  }
  return hash >>> 0;
}

const words = (
  'the row seat guest door act light stage aisle ticket voice scene hall curtain chair lamp ' +
  'opens leads waits turns holds brings finds keeps moves rests early late left right near far'
).split(' ');

/** `count` tokens that depend on nothing but `seed`. */
export function seededTokens(seed: number, count: number): string[] {
  const random = seededRandom(seed);
  const tokens: string[] = [];
  for (let index = 0; index < count; index += 1) {
    const word = words[Math.floor(random() * words.length)] ?? 'row';
    tokens.push(index === 0 ? word : ` ${word}`);
  }
  return tokens;
}
