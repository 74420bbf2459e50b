import { expect, test } from 'vitest';
import { staleKnowledge } from './guide-knowledge.ts';

test('the guide knows the documentation as it is (else run: node tools/guide-knowledge.ts)', async () => {
  expect(await staleKnowledge()).toEqual([]);
});
