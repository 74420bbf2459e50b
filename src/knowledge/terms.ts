/**
 * Words of documents and questions as the index knows them: folded to lower case without accents,
 * with light endings taken off, the same on both sides.
 */

// Words that tell nothing about a subject; a question of these alone finds nothing.
const stopWords = new Set(
  (
    'a about all an and any are as at be been but by can could did do does for from had happen happens has have how i if in into is it ' +
    'its me my no nor not of on or our out shall should so some such than that the their them then there these they this ' +
    'those to us was we were what when where which who whom whose why will with would you your ' +
    'aber als am an auch auf aus bei bin bis das dass dem den der des die doch dort du durch ein eine einem einen einer ' +
    'eines er es etwas fur gibt habe haben hat hier ich ihr im in ist ja kann kein keine man mein mich mir mit nach nein ' +
    'nicht noch nun nur ob oder ohne sehr sein sich sie sind so uber um und uns unser vom von vor wann warum was welche ' +
    'welcher wenn wer werden wie wieso wir wird wo zu zum zur'
  ).split(' '),
);

const unspacedScript = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}]{2,}/gu;
const plainPattern = /^[a-z0-9]+$/;
const wordPattern = /[\p{L}\p{M}\p{N}]+/gu;

/** Splits a text into words; scripts without spaces into overlapping pairs; `budgetTokens` also into its parts. */
export function words(text: string): string[] {
  const found: string[] = [];
  for (const [word] of text.normalize('NFC').matchAll(wordPattern)) {
    // Longer runs are data (hashes, base64), not words.
    if (word.length > 64) continue;
    found.push(word);
    // Most words are plain, and the two splits below cost more than all else.
    if (plainPattern.test(word)) continue;
    for (const part of word.split(/(?<=\p{Ll})(?=\p{Lu})/u)) if (part !== word) found.push(part);
    for (const [run] of word.matchAll(unspacedScript)) {
      for (let at = 0; at + 2 <= run.length; at += 1) found.push(run.slice(at, at + 2));
    }
  }
  return found;
}

/**
 * The forms under which a word is indexed and looked up, or null for one that tells nothing. A word
 * with umlauts has two, so that "Überblick", "Ueberblick" and "Uberblick" find each other.
 */
export function termsOf(word: string): string[] | null {
  const lower = word.toLowerCase().replaceAll('ß', 'ss');
  const folded = lower.normalize('NFD').replaceAll(/\p{M}/gu, '');
  if (stopWords.has(folded)) return null;
  const spelled = lower
    .normalize('NFC')
    .replaceAll('ä', 'ae')
    .replaceAll('ö', 'oe')
    .replaceAll('ü', 'ue')
    .normalize('NFD')
    .replaceAll(/\p{M}/gu, '');
  return [...new Set([stem(folded), stem(spelled)])];
}

/** Plural, -ing and -ed of English (after D. Harman's S-stemmer, 1991); short words stay whole. */
function stem(word: string): string {
  const singular = withoutPlural(word);
  const bare = /^(\p{L}{3,}?)(?:ing|ed)$/u.exec(singular)?.[1];
  if (bare === undefined || !/[aeiouy]/u.test(bare)) return withoutE(singular);
  // stopped -> stop, but call, miss and buzz keep both letters.
  return withoutE(/([^aeioulsz])\1$/u.test(bare) ? bare.slice(0, -1) : bare);
}

/** cache, caches, caching and cached meet in `cach`. */
function withoutE(word: string): string {
  return word.length > 4 && word.endsWith('e') ? word.slice(0, -1) : word;
}

function withoutPlural(word: string): string {
  if (word.length < 4) return word;
  if (word.endsWith('ies') && !/[ae]ies$/u.test(word)) return `${word.slice(0, -3)}y`;
  if (/(?:x|ch|sh|ss)es$/u.test(word)) return word.slice(0, -2);
  if (word.endsWith('s') && !/(?:us|ss|is)$/u.test(word)) return word.slice(0, -1);
  return word;
}
