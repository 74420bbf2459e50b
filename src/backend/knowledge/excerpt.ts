import type { RetrievedPassage } from '../port.ts';
import { stemsOf } from './words.ts';

/** What of a passage is quoted. */
export interface Excerpt {
  readonly passage: RetrievedPassage;
  /** Markdown; pieces that were not neighbours are joined by an ellipsis. */
  readonly text: string;
  /** Share of the question's topic that the whole passage speaks of, 0 to 1. */
  readonly coverage: number;
}

const sentenceCutter = new Intl.Segmenter('und', { granularity: 'sentence' });

/** The part of each passage that speaks of the topic, in the order of the search; passages that do not speak of it at all are left out. */
export function excerpts(
  passages: readonly RetrievedPassage[],
  topic: ReadonlySet<string>,
  charactersMax: number,
): Excerpt[] {
  const stems = passages.map((passage) => new Set(stemsOf(`${passage.title}\n${passage.text}`)));
  const weights = weigh(topic, stems);
  const total = sum(weights.values());
  return passages
    .map((passage, nth) => ({ passage, coverage: total === 0 ? 0 : weightIn(stems[nth]!, weights) / total }))
    .filter((found) => found.coverage > 0)
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

/** The best block with its neighbours, as many as fit; a block too long by itself is cut to its best part. */
function excerptOf(text: string, weights: ReadonlyMap<string, number>, charactersMax: number): string {
  const blocks = blocksOf(text);
  let first = indexOfBest(blocks, weights);
  const best = blocks[first]!;
  if (best.length > charactersMax) return shorten(best, weights, charactersMax);
  let last = first;
  let length = best.length;
  const fits = (block: string | undefined): block is string =>
    block !== undefined && length + block.length + 2 <= charactersMax;
  // What goes before announces it, as code is by a sentence; then what follows explains.
  while (fits(blocks[first - 1])) length += blocks[--first]!.length + 2;
  while (fits(blocks[last + 1])) length += blocks[++last]!.length + 2;
  return blocks.slice(first, last + 1).join('\n\n');
}

/** The first of the pieces that say most of the topic. */
function indexOfBest(pieces: readonly string[], weights: ReadonlyMap<string, number>): number {
  const scores = pieces.map((piece) => weightIn(new Set(stemsOf(piece)), weights));
  return scores.indexOf(Math.max(...scores));
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

function shorten(block: string, weights: ReadonlyMap<string, number>, charactersMax: number): string {
  if (/^\s*(?:```|~~~)/.test(block)) return firstLines(block, charactersMax);
  if (/^\s*\|/.test(block)) return bestRows(block, weights, charactersMax);
  if (/^\s*(?:[-*+] |\d+[.)] )/.test(block)) return bestRun(itemsOf(block), weights, charactersMax, '\n');
  return bestRun(
    [...sentenceCutter.segment(block)].map(({ segment }) => segment),
    weights,
    charactersMax,
    ' ',
  );
}

/** The run of pieces that begins with the best and fits; what is left out on either side is told by an ellipsis. */
function bestRun(
  pieces: readonly string[],
  weights: ReadonlyMap<string, number>,
  charactersMax: number,
  gap: string,
): string {
  const start = indexOfBest(pieces, weights);
  const room = charactersMax - 4;
  let run = '';
  let end = start;
  while (end < pieces.length && run.length + pieces[end]!.length <= room) run += pieces[end++]!;
  if (run === '') run = clip(pieces[end++]!, room);
  return `${start > 0 ? `…${gap}` : ''}${run.trim()}${end < pieces.length ? `${gap}…` : ''}`;
}

/** The head of a table, where that leaves room, with the run of rows that begins with the best. */
function bestRows(table: string, weights: ReadonlyMap<string, number>, charactersMax: number): string {
  const lines = table.split('\n').map((line) => `${line}\n`);
  const head = lines.slice(0, 2).join('');
  if (lines.length < 3 || head.length > charactersMax / 2) return bestRun(lines, weights, charactersMax, '\n');
  return `${head}${bestRun(lines.slice(2), weights, charactersMax - head.length, '\n')}`;
}

/** The items of a list, each with the lines that belong to it. */
function itemsOf(list: string): string[] {
  return list.split(/(?<=\n)(?=[-*+] |\d+[.)] )/);
}

/** Code from its beginning; the open fence is closed again. */
function firstLines(code: string, charactersMax: number): string {
  const fence = /^\s*(`{3,}|~{3,})/.exec(code)![1]!;
  const room = charactersMax - fence.length - 3;
  const kept = code.slice(0, room).split('\n').slice(0, -1);
  return [...(kept.length > 1 ? kept : [clip(code, room)]), '…', fence].join('\n');
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
