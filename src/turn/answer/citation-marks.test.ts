import { expect, test } from 'vitest';
import { newId } from '#base';
import { nothingTold, writeFound, type MessageItem, type ToolItem, type TurnEvent } from '#conversation';
import { Answer } from './answer.ts';
import { MarkScanner } from './citation-marks.ts';
import { noHead, promptMessages } from '../context/prompt-messages.ts';

test.each([
  ['Nine euros [1], half for children [12].', [1, 12]],
  ['[1][2]', [1, 2]],
  ['[[3]]', [3]],
  ['[0] [01] [1234] [ 1] [1 ] [a] [] [1', []],
  ['`rows[1]` and [2]', [2]],
  ['```js\nrows[1]\n\nrows[2]\n```\n[3]', [3]],
  ['an odd ` stays [1]\n\nin its paragraph [2]', [2]],
  ['``a ` [1]`` [2]', [2]],
])('%j has the marks %j', (text, numbers) => {
  expect(new MarkScanner().add(text).map(({ number }) => number)).toEqual(numbers);
});

const passage = (source: string) => ({ source, title: source.toUpperCase(), text: 'text' });

function citationsOf(answer: Answer): unknown {
  return answer.items.flatMap((item) =>
    item.kind === 'message' ? item.content.map((part) => (part.type === 'text' ? part.citations : [])) : [],
  );
}

test('marks of numbers that no passage has, and of an answer that was not told to mark any, cite nothing', () => {
  for (const sources of [[passage('a.md')], undefined]) {
    const told: TurnEvent[] = [];
    const answer = new Answer((event) => void told.push(event), { sources });
    void answer.add({ type: 'text', text: sources === undefined ? 'See [1].' : 'See [2].' });
    expect(told.map(({ type }) => type)).toEqual(['opened', 'text']);
  }
});

test('a citation is told after the piece that ends its mark', () => {
  const told: TurnEvent[] = [];
  const answer = new Answer((event) => void told.push(event), { sources: [passage('a.md')] });
  for (const text of ['Nine [', '1', '] euros']) void answer.add({ type: 'text', text });
  expect(told.map(({ type }) => type)).toEqual(['opened', 'text', 'text', 'text', 'cited']);
  expect(told.at(-1)).toMatchObject({ citation: { source: 'a.md', title: 'A.MD', start: 5, end: 8 } });
});

test('passages that the model’s own searches found are cited by their numbers, also by another node that goes on', () => {
  const output = writeFound([{ number: 2, ...passage('b.md'), score: 1 }]);
  const search: ToolItem = {
    kind: 'tool',
    id: newId('search'),
    callId: 'c',
    source: 'knowledge',
    name: 'file_search',
    arguments: '{"query":"b"}',
    output,
    error: null,
    status: 'completed',
  };
  const from = { ...nothingTold, kept: [{ index: 0, item: search }], nextIndex: 1, stepFrom: 1, isStepOver: true };
  const answer = new Answer(() => undefined, { sources: [passage('a.md')], from });
  void answer.add({ type: 'text', text: 'Six [2], nine [1], ten [3].' });
  void answer.close('completed');
  expect(citationsOf(answer)).toMatchObject([
    [
      { source: 'b.md', start: 4 },
      { source: 'a.md', start: 14 },
    ],
  ]);
});

test('an answer that is gone on with elsewhere is told anew with its marks', () => {
  const told: TurnEvent[] = [];
  const item: MessageItem = {
    kind: 'message',
    id: newId('message'),
    role: 'assistant',
    content: [{ type: 'text', text: 'Nine [1] or [' }],
    status: 'incomplete',
  };
  const from = { ...nothingTold, open: { index: 0, item }, nextIndex: 1 };
  const answer = new Answer((event) => void told.push(event), { sources: [passage('a.md')], from });
  void answer.resume();
  void answer.add({ type: 'text', text: '1]' });
  void answer.close('completed');
  expect(citationsOf(answer)).toMatchObject([
    [
      { start: 5, end: 8 },
      { start: 12, end: 15 },
    ],
  ]);
  expect(told.filter(({ type }) => type === 'cited').every((event) => 'index' in event && event.index === 1)).toBe(
    true,
  );
});

test('marks of earlier turns are not put before the model again, those of this turn are', () => {
  const text = 'Nine [1], array[7].';
  const citations = [{ source: 'a.md', title: 'A', start: 5, end: 8 }];
  const item: MessageItem = {
    kind: 'message',
    id: newId('message'),
    role: 'assistant',
    content: [{ type: 'text', text, citations }],
    status: 'completed',
  };
  expect(promptMessages(noHead, [item], { marks: 'passages' })).toEqual([
    { role: 'assistant', content: 'Nine , array[7].' },
  ]);
  expect(promptMessages(noHead, [item], { marks: 'found' })).toEqual([{ role: 'assistant', content: text }]);
});

test('of a model that marks without end the first thousand marks are looked at, anew where the answer begins anew', () => {
  const answer = new Answer(() => undefined, { sources: [passage('a.md')] });
  void answer.add({ type: 'text', text: '[1]'.repeat(5000) });
  void answer.restart();
  for (let count = 0; count < 5000; count += 1) void answer.add({ type: 'text', text: '[1]' });
  void answer.close('completed');
  const [citations] = citationsOf(answer) as unknown[][];
  expect(citations).toHaveLength(1000);
});
