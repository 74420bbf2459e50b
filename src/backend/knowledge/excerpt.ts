import type { Passage } from '#release';
import { stemsOf } from './words.ts';

/** What of a passage is quoted. */
export interface Excerpt {
  readonly passage: Passage;
  /** Markdown; pieces that were not neighbours are joined by an ellipsis. */
  readonly text: string;
  /** Share of the question's topic that the whole passage speaks of, 0 to 1. */
  readonly coverage: number;
}

const sentenceCutter = new Intl.Segmenter('und', { granularity: 'sentence' });

/**
 * The part of each passage that speaks of the topic, in the order of relevance; passages that do
 * not speak of it at all are left out.
 */
export function excerpts(passages: readonly Passage[], topic: ReadonlySet<string>, charactersMax: number): Excerpt[] {
  const stems = passages.map((passage) => new Set(stemsOf(`${passage.title}\n${passage.text}`)));
  const weights = weigh(topic, stems);
  const total = sum(weights.values());
  return passages
    .map((passage, nth) => ({ passage, coverage: total === 0 ? 0 : weightIn(stems[nth]!, weights) / total }))
    .filter((found) => found.coverage > 0)
    .sort((a, b) => b.coverage - a.coverage)
    .map(({ passage, coverage }) => ({ passage, coverage, text: excerptOf(passage.text, weights, charactersMax) }));
}

/** A stem that few of the passages have tells more (inverse document frequency, smoothed). */
function weigh(topic: ReadonlySet<string>, passages: readonly ReadonlySet<string>[]): Map<string, number> {
  const weights = new Map<string, number>();
  for (const word of topic) {
    const having = passages.filter((stems) => stems.has(word)).length;
    weights.set(word, 1 + Math.log((passages.length + 1) / (having + 1)));
  }
  return weights;
}

function weightIn(stems: ReadonlySet<string>, weights: ReadonlyMap<string, number>): number {
  let weight = 0;
  for (const [word, value] of weights) if (stems.has(word)) weight += value;
  return weight;
}

/** The best block with its neighbours, as many as fit; a block too long by itself is cut to its best sentences. */
function excerptOf(text: string, weights: ReadonlyMap<string, number>, charactersMax: number): string {
  const blocks = blocksOf(text);
  const scores = blocks.map((block) => weightIn(new Set(stemsOf(block)), weights));
  let first = scores.indexOf(Math.max(...scores));
  const best = blocks[first]!;
  if (best.length > charactersMax) return shorten(best, weights, charactersMax);
  let last = first;
  let length = best.length;
  const fits = (block: string | undefined): block is string =>
    block !== undefined && length + block.length + 2 <= charactersMax;
  // What follows explains; what goes before is taken only where it speaks of the topic, too.
  while (fits(blocks[last + 1]) && (isLeadIn(blocks[last]!) || scores[last + 1]! > 0)) {
    last += 1;
    length += blocks[last]!.length + 2;
  }
  while (fits(blocks[first - 1]) && (isLeadIn(blocks[first - 1]!) || scores[first - 1]! > 0)) {
    first -= 1;
    length += blocks[first]!.length + 2;
  }
  return blocks.slice(first, last + 1).join('\n\n');
}

/** Paragraphs, lists, tables and fenced code, each whole. */
function blocksOf(text: string): string[] {
  const blocks: string[] = [];
  let lines: string[] = [];
  let isFenced = false;
  for (const line of text.trim().split(/\r?\n/)) {
    if (/^\s*(?:```|~~~)/.test(line)) isFenced = !isFenced;
    if (line.trim() === '' && !isFenced) {
      if (lines.length > 0) blocks.push(lines.join('\n'));
      lines = [];
    } else {
      lines.push(line);
    }
  }
  if (lines.length > 0) blocks.push(lines.join('\n'));
  return blocks.length > 0 ? blocks : [''];
}

/** A heading, or a sentence that announces what follows. */
function isLeadIn(block: string): boolean {
  return /^#{1,6} /.test(block) || /[:：]\s*$/.test(block);
}

function shorten(block: string, weights: ReadonlyMap<string, number>, charactersMax: number): string {
  const isProse = !/^\s*(?:```|~~~|[-*+] |\d+[.)] |\|)/.test(block);
  return isProse ? bestSentences(block, weights, charactersMax) : firstLines(block, charactersMax);
}

/** The run of sentences that says most of the topic within the length. */
function bestSentences(text: string, weights: ReadonlyMap<string, number>, charactersMax: number): string {
  const sentences = [...sentenceCutter.segment(text)].map((part) => part.segment);
  const scores = sentences.map((sentence) => weightIn(new Set(stemsOf(sentence)), weights));
  const start = scores.indexOf(Math.max(...scores));
  let run = '';
  let end = start;
  while (end < sentences.length && run.length + sentences[end]!.length <= charactersMax - 4) run += sentences[end++]!;
  if (run === '') run = clip(sentences[start]!, charactersMax - 4);
  return `${start > 0 ? '… ' : ''}${run.trim()}${end < sentences.length ? ' …' : ''}`;
}

/** Lists, tables and code from their beginning; an open fence is closed again. */
function firstLines(block: string, charactersMax: number): string {
  const fence = /^\s*(```|~~~)/.exec(block)?.[1];
  const kept: string[] = [];
  let length = 0;
  for (const line of block.split('\n')) {
    length += line.length + 1;
    if (length > charactersMax - 8) break;
    kept.push(line);
  }
  if (kept.length === 0) kept.push(clip(block, charactersMax - 8));
  return [...kept, ...(fence === undefined ? ['', '…'] : ['…', fence])].join('\n');
}

/** Cuts between characters, never inside a surrogate pair. */
function clip(text: string, charactersMax: number): string {
  const cut = text.slice(0, charactersMax);
  return /[\uD800-\uDBFF]$/.test(cut) ? cut.slice(0, -1) : cut;
}

function sum(values: Iterable<number>): number {
  let total = 0;
  for (const value of values) total += value;
  return total;
}
