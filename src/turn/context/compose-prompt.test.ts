import { expect, test } from 'vitest';
import { newId } from '#base';
import type { Item, ToolItem } from '#conversation';
import { composePrompt } from './compose-prompt.ts';

type Turn = Parameters<typeof composePrompt>[0];
type Memory = Parameters<typeof composePrompt>[1];

/** As much of a turn as its prompt is made of. */
const turn = {
  served: {
    release: {
      instructions: 'Be kind.',
      passages: [],
      spec: { context: { budgetTokens: 2000 }, knowledge: { passages: 0, search: 'before' }, parameters: {} },
    },
    topics: [],
  },
  request: { parameters: {}, extra: {}, tools: [] },
} as unknown as Turn;

test('what an application told a conversation holds where even the summary has to make way', () => {
  const question: Item = {
    kind: 'message',
    id: newId('message'),
    role: 'user',
    content: [{ type: 'text', text: 'What does it cost?' }],
    status: 'completed',
  };
  const memory: Memory = {
    summary: { text: 'The guest asked for prices. '.repeat(30), standing: ['Never tell prices.'], recent: [] },
    past: [],
    standing: [],
    fresh: [question],
    passages: [],
    toolTokens: 0,
    question: 'What does it cost?',
    approved: [],
  };
  // Arguments are not cut: they take what there is.
  const call: ToolItem = {
    kind: 'tool',
    id: newId('tool'),
    callId: 'call_1',
    source: 'shop',
    name: 'look',
    arguments: JSON.stringify('a'.repeat(7600)),
    output: 'Nothing.',
    error: null,
    status: 'completed',
  };
  const before = JSON.stringify(composePrompt(turn, memory).prompt.messages);
  expect(before).toContain('Never tell prices.');
  expect(before).toContain('The guest asked');
  const after = JSON.stringify(composePrompt(turn, memory, [call]).prompt.messages);
  expect(after).toContain('Never tell prices.');
  expect(after).not.toContain('The guest asked');
});
