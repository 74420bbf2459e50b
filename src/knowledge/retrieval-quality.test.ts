import { globSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { DocumentReader } from './document-reader.ts';
import { openKnowledgeIndex } from './knowledge-index.ts';

import { standInVectors } from './stand-in-vectors.fixture.ts';
import { nearestRows, tableOf } from './vector-table.ts';

/** Measured 0.91 over 29 passages, 0.89 over 94 and 0.83 over 335; below this, something in the search broke. */
const recallMin = 0.75;
/**
 * Of a small real model, all-MiniLM-L6-v2, over 262 passages: recall@3 0.771, recall@6 0.943, MRR 0.669 by vectors
 * alone; 0.857, 0.943 and 0.804 together with words, which alone came to 0.829, 0.914 and 0.784.
 */
const standInRecallMax = 0.8;
const guide = fileURLToPath(new URL('../../examples/assistants/guide/', import.meta.url));

/**
 * Questions as people put them to the guide, and what a passage that answers them says. Answers are
 * told by their words, not their place: documentation moves.
 */
const questions: readonly (readonly [question: string, answer: RegExp])[] = [
  ['How do I start it?', /npm ci && npm start/u],
  ['how can I run the tests', /npm ci && npm test/u],
  ['Which version of Node do I need?', /Node (?:24|from 20)/u],
  ['Does it work on Alpine Linux?', /Alpine/u],
  ['What happens when no model is configured?', /knowledge only/iu],
  ['which model answers my questions', /OPENAI_API_KEY|pool `default`/u],
  ['Can I use Ollama?', /Ollama/u],
  ['How do I call an assistant with the OpenAI SDK?', /baseURL/u],
  ['How do I put the chat on my web site?', /widget\.js/u],
  ['embed the widget in a page', /widget\.js|origins/u],
  ['How do I make a new assistant?', /usher init/u],
  ['what does assistant.yaml look like', /name: my-assistant|`name` must be given|assistant\.yaml/u],
  ['What letters may a name have?', /lower-case letters/u],
  ['how to set the temperature', /`temperature`/u],
  ['How long may a message be?', /inputCharacters/u],
  ['rate limit per user', /turnsPerMinutePerUser|turns.*minute/iu],
  ['Which file formats can knowledge have?', /markdown.*PDF|\.html/isu],
  ['Can it read scanned PDF files?', /text recognition/u],
  ['How does search deal with umlauts like Überblick?', /Ueberblick/u],
  ['What is a release digest?', /sha256/u],
  ['How can I check the digest by hand?', /sha256sum/u],
  ['How do I pin a conversation to an exact release?', /exactly this release|one exact release|began with/u],
  ['How large may a knowledge file be?', /16 MiB/u],
  ['Are symbolic links allowed?', /[Ss]ymbolic links are refused/u],
  ['what happens on a bad edit', /last good/u],
  ['How are users told that they talk to an AI?', /talk to an AI/u],
  ['who may open the chat page', /access: public|access: token/u],
  ['Which database stores conversations?', /SQLite|PostgreSQL/u],
  ['How is content encrypted?', /sealed|encrypted/u],
  ['Where is the root key?', /[Rr]oot key/u],
  ['When does a revoked API key stop working?', /revocation holds|[Rr]evo/u],
  ['What are the steps of a turn?', /\*\*admit\*\*|admit/u],
  ['how is a backend chosen', /balancer picks|which backend is picked/u],
  ['What happens when a client disconnects during an answer?', /gone stops it|cancel|abort/u],
  ['Wie schreibe ich instructions?', /instructions\.md|[Ii]nstructions/u],
];

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
