import type { RetrievedPassage, ModelEvent } from '../port.ts';
import { excerpts, type Excerpt } from './excerpt.ts';
import { topicStems } from './words.ts';

/**
 * Why passages are quoted instead of an answer written. `alone`: no language model is configured.
 * `stand-in`: there are models, and none can answer now.
 */
export type Occasion = 'alone' | 'stand-in';

export interface Question {
  readonly question: string;
  /** Best first. */
  readonly passages: readonly RetrievedPassage[];
  /** Titles of what the assistant knows, for when nothing fits. */
  readonly topics: readonly string[];
  readonly charactersMax: number;
  readonly occasion: Occasion;
}

const quotesMax = 3;
const quoteCharactersMax = 700;
const topicsMax = 8;
/** Below this share of the question's topic a passage is offered as the nearest, not as the answer. */
const sureCoverage = 0.4;
/** A further passage is quoted only where the search found it nearly as good as the best. */
const furtherShare = 0.6;

const greeting =
  /^\W*(?:hello|hi|hey|hiya|howdy|greetings|good (?:morning|afternoon|evening|day)|hallo|guten (?:tag|morgen|abend)|moin|servus|bonjour|salut|bonsoir|hola|buenos d[ií]as|buenas|ciao|ol[aá]|привет|你好|您好|こんにちは)(?: (?:there|again|everyone|all|you))?\W*$/iu;
const thanks =
  /^\W*(?:thanks?|thank you|thx|danke|merci|gracias|grazie|obrigad[oa]|спасибо|谢谢)(?: (?:you|a lot|so much|very much))?\W*$/iu;
const aboutItself =
  /^\W*(?:help|who are you|what (?:are you|can you do|can i ask(?: you)?|do you (?:do|know)|is this)|how (?:can|could) you help(?: me)?)\W*$/iu;

/** The whole answer as the events that tell it: text in pieces, each quotation cited after its piece. */
export function composeAnswer(question: Question): ModelEvent[] {
  const asked = question.question.trim();
  if (thanks.test(asked)) return [{ type: 'text', text: 'You are welcome. Ask on whenever you like.' }];
  if (asked === '' || greeting.test(asked) || aboutItself.test(asked)) return introduce(question, greeting.test(asked));
  const found = excerpts(distinct(question.passages), topicStems(asked), quoteCharactersMax);
  const best = found[0];
  if (best === undefined) return admitNothing(question);
  const isSure = found.some(({ coverage }) => coverage >= sureCoverage);
  return isSure ? quote(question, found, best) : offerNearest(question, best);
}

function quote(question: Question, found: readonly Excerpt[], best: Excerpt): ModelEvent[] {
  const least = (best.passage.score ?? 0) * furtherShare;
  const near = found.filter(({ passage }) => (passage.score ?? least) >= least);
  const chosen = fitting(near.slice(0, quotesMax), question.charactersMax);
  const opening = chosen.length === 1 ? 'This passage speaks of it:' : 'These passages speak of it:';
  return assemble([opening, ...chosen, why(question.occasion)]);
}

function offerNearest(question: Question, best: Excerpt): ModelEvent[] {
  const opening = 'Nothing in my documents answers that squarely. The nearest I find is this:';
  return assemble([opening, best, why(question.occasion)]);
}

function admitNothing(question: Question): ModelEvent[] {
  const known = topicList(question);
  const opening = 'I looked, and nothing in my documents speaks of that.';
  const onward =
    known === undefined
      ? 'Try other words for it, such as a document itself would use.'
      : `What I do know about:\n\n${known}\n\nAsk about one of these, or try other words for your question.`;
  return assemble([opening, onward, why(question.occasion)]);
}

function introduce(question: Question, isGreeting: boolean): ModelEvent[] {
  const known = topicList(question);
  const opening = `${isGreeting ? 'Hello! ' : ''}Ask me a question, and I look up the passages that answer it.`;
  return assemble([
    opening,
    ...(known === undefined ? [] : [`I have documents about:\n\n${known}`]),
    why(question.occasion),
  ]);
}

/** Said once in each answer: people must know what they read, and whoever runs this how to mend it. */
function why(occasion: Occasion): string {
  return occasion === 'alone'
    ? '*No language model is configured here, so I quote the documents instead of answering in my own words. ' +
        'Whoever runs this server can connect one: set `OPENAI_API_KEY`, or name a backend in `usher.yaml`.*'
    : '*No language model can be reached just now, so I quote the documents instead of answering in my own words. ' +
        'Ask again in a while; whoever runs this server finds the cause with `usher doctor`.*';
}

function topicList(question: Question): string | undefined {
  const titles = question.topics.length > 0 ? question.topics : question.passages.map((passage) => passage.title);
  const distinctTitles = [...new Set(titles.map(oneLine))].filter((title) => title !== '');
  if (distinctTitles.length === 0) return undefined;
  const shown = distinctTitles.slice(0, topicsMax).map((title) => `- ${title}`);
  const left = distinctTitles.length - shown.length;
  return [...shown, ...(left > 0 ? [`- and ${left} more`] : [])].join('\n');
}

/** As many of the excerpts as fit the length, the best one in any case. */
function fitting(found: readonly Excerpt[], charactersMax: number): readonly Excerpt[] {
  let length = 0;
  return found.filter((excerpt, nth) => {
    length += excerpt.text.length;
    return nth === 0 || length <= charactersMax;
  });
}

function distinct(passages: readonly RetrievedPassage[]): RetrievedPassage[] {
  const seen = new Set<string>();
  return passages.filter((passage) => {
    const isNew = !seen.has(passage.text);
    seen.add(passage.text);
    return isNew;
  });
}

/** Paragraphs become text; an excerpt becomes a quotation with its source below, and its citation. */
function assemble(parts: readonly (string | Excerpt)[]): ModelEvent[] {
  const events: ModelEvent[] = [];
  let length = 0;
  for (const part of parts) {
    const gap = length === 0 ? '' : '\n\n';
    const body = typeof part === 'string' ? part : quotation(part);
    const source = typeof part === 'string' ? '' : sourceLine(part.passage);
    events.push({ type: 'text', text: gap + body + source });
    const start = length + gap.length;
    if (typeof part !== 'string') {
      const { source, title } = part.passage;
      events.push({ type: 'cited', source, title, start, end: start + body.length });
    }
    length = start + body.length + source.length;
  }
  return events;
}

function quotation(excerpt: Excerpt): string {
  return excerpt.text
    .split('\n')
    .map((line) => `> ${line}`.trimEnd())
    .join('\n');
}

function sourceLine(passage: RetrievedPassage): string {
  return `\n\n— ${oneLine(passage.title)}, \`${passage.source.replaceAll('`', "'")}\``;
}

/** A title as plain words on one line, so that it cannot open a markdown block of its own. */
function oneLine(title: string): string {
  return title
    .replaceAll(/\s+/g, ' ')
    .trim()
    .replace(/^[#>\-*+]+ /, '');
}
