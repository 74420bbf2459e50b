import { globSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { DocumentReader } from './document-reader.ts';
import { openKnowledgeIndex } from './knowledge-index.ts';

import { guideQuestions as questions } from '#test/guide-questions';
import { standInVectors } from './stand-in-vectors.fixture.ts';
import { nearestRows, tableOf } from './vector-table.ts';

/** Measured 0.91 over 29 passages, 0.89 over 94 and 0.86 over 369; below this, something in the search broke. */
const recallMin = 0.75;
/**
 * Of a small real model, all-MiniLM-L6-v2, over 262 passages: recall@3 0.771, recall@6 0.943, MRR 0.669 by vectors
 * alone; 0.857, 0.943 and 0.804 together with words, which alone came to 0.829, 0.914 and 0.784.
 */
const standInRecallMax = 0.8;
const guide = fileURLToPath(new URL('../../examples/assistants/guide/', import.meta.url));

async function openGuide() {
  const files = globSync('knowledge/**/*.md', { cwd: guide })
    .toSorted()
    .map((path) => ({ path: path.replaceAll('\\', '/'), bytes: readFileSync(`${guide}${path}`) }));
  await using documents = new DocumentReader();
  const { passages, problems } = await documents.read(files);
  expect(problems).toEqual([]);
  return { passages, index: await openKnowledgeIndex(passages) };
}

interface Found {
  readonly recallAtThree: number;
  readonly recallAtSix: number;
  /** Mean of 1 / the place of the first answer among the best ten. */
  readonly reciprocalRank: number;
  readonly missed: readonly string[];
}

type Search = (question: string, most: number) => Promise<readonly { readonly text: string }[]>;

async function measure(search: Search): Promise<Found> {
  const places: number[] = [];
  for (const [question, answer] of questions) {
    places.push((await search(question, 10)).findIndex(({ text }) => answer.test(text)));
  }
  const shareWithin = (most: number): number => places.filter((at) => at !== -1 && at < most).length / places.length;
  return {
    recallAtThree: shareWithin(3),
    // Six is what the guide puts before its model.
    recallAtSix: shareWithin(6),
    reciprocalRank: places.reduce((sum, at) => sum + (at === -1 ? 0 : 1 / (at + 1)), 0) / places.length,
    missed: questions.map(([question]) => question).filter((_, at) => ![0, 1, 2].includes(places[at]!)),
  };
}

function print(way: string, { recallAtThree, recallAtSix, reciprocalRank, missed }: Found, passages: number): void {
  const list = missed.map((question) => `\n  missed among three: ${question}`).join('');
  process.stdout.write(
    `${way}: recall@3 ${recallAtThree.toFixed(3)}, recall@6 ${recallAtSix.toFixed(3)}, MRR ${reciprocalRank.toFixed(3)} over ${questions.length} questions and ${passages} passages${list}\n`,
  );
}

test('of questions about the guide’s own documents, most find an answer among the best three passages', async () => {
  const { passages, index } = await openGuide();
  const found = await measure(async (question, most) => index.search(question, most));
  print('words', found, passages.length);
  expect(found.recallAtThree).toBeGreaterThanOrEqual(recallMin);
});

test('by words and by vectors together, no fewer find an answer than by words alone, and none lower down', async () => {
  const { passages, index } = await openGuide();
  const vectorOf = standInVectors(questions);
  const table = tableOf(passages.map(({ text }) => vectorOf(text)))!;
  const byWords = await measure(async (question, most) => index.search(question, most));
  const byVectors = await measure(async (question, most) =>
    (await nearestRows(table, vectorOf(question), most)).map((row) => passages[row]!),
  );
  const fused = await measure((question, most) =>
    index.searchBoth(question, { vector: vectorOf(question), passages: table }, most),
  );
  print('stand-in vectors', byVectors, passages.length);
  print('words and stand-in vectors', fused, passages.length);
  // The stand-in must be no better than the model it stands for, or the rest would say nothing.
  expect(byVectors.recallAtThree).toBeLessThanOrEqual(standInRecallMax);
  expect(fused.recallAtThree).toBeGreaterThanOrEqual(byWords.recallAtThree);
  expect(fused.recallAtSix).toBeGreaterThanOrEqual(byWords.recallAtSix);
  expect(fused.reciprocalRank).toBeGreaterThanOrEqual(byWords.reciprocalRank);
});

test('a question about something else finds little', async () => {
  const { index } = await openGuide();
  expect(index.search('Rhabarberkuchen zitronengelb', 3)).toEqual([]);
});
