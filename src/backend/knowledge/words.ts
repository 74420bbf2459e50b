/**
 * Words that say how a question is asked, not what it is about. English, German, French and
 * Spanish; in other languages each word counts, which costs precision, not honesty.
 */
const askingWords = new Set(
  (
    'a about an and any are as at be been but by can could did do does explain for from get give had ' +
    'happen happened happening happens has have how i if in into is it its just know like me might more my need of on or our out please should show so some tell than ' +
    'that the their them then there these they this those to up us use want was way we were what when where which who ' +
    'whom whose why will with would you your ' +
    'aber als am an auf aus bei das dem den der des die ein eine einem einen einer es für hat ich im ist kann man mein ' +
    'mich mir mit nach nicht oder sich sie sind und uns von wann warum was wer werden wie wird wo zu zum zur ' +
    'au aux avec ce ces comment dans de des du elle en est et il je la le les leur ma mais mes mon ne nous ou où par ' +
    'pas pour pourquoi quand que quel quelle qui sa se ses son sont sur un une vous ' +
    'al como con cual cuando de del donde el ella en es esta este la las lo los mi no para pero por porque que quien se ' +
    'si son su sus un una y'
  ).split(' '),
);

const wordCutter = new Intl.Segmenter('und', { granularity: 'word' });

/** The stems of all words of a text, in order; also cuts languages that put no spaces between words. */
export function stemsOf(text: string): string[] {
  const stems: string[] = [];
  for (const { segment, isWordLike } of wordCutter.segment(text)) if (isWordLike) stems.push(stem(segment));
  return stems;
}

/** The distinct stems of what a question is about. */
export function topicStems(question: string): Set<string> {
  const stems = new Set<string>();
  for (const { segment, isWordLike } of wordCutter.segment(question)) {
    if (isWordLike && !askingWords.has(segment.toLowerCase())) stems.add(stem(segment));
  }
  return stems;
}

/** Light stemming, the same for question and text: `installing`, `installs` and `install` are one. */
function stem(word: string): string {
  const plain = word.normalize('NFKD').replace(/\p{M}/gu, '').toLowerCase();
  const bare = plain.replace(/['’]s$/, '');
  return bare.length <= 3 ? bare : bare.replace(/(?<=.{3})(?:ations?|ing|ed|es|s|e|en)$/, '');
}
