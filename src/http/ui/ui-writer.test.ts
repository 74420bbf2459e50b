import { expect, test } from 'vitest';
import { newId } from '#base';
import { noUsage, type ApprovalRequestItem, type StartedTurn } from '#conversation';
import type { ReleaseDigest } from '#release';
import { UiWriter } from './ui-writer.ts';

const turn: StartedTurn = {
  id: newId('turn'),
  assistant: 'helper',
  environment: 'production',
  release: `sha256:${'a'.repeat(64)}` as ReleaseDigest,
  startedAtMs: 0,
};
const request: ApprovalRequestItem = {
  kind: 'approval-request',
  id: newId('approvalRequest'),
  callId: 'call_1',
  source: 'http',
  name: 'book',
  arguments: '{}',
  status: 'completed',
};

test('what came of an approved call and is not kept any more is an error, so that no chat asks for it without end', () => {
  const writer = new UiWriter({ id: 'resp_1', refused: [], approved: [request] });
  writer.write({ type: 'started', turn });
  const outcome = { state: 'completed', reason: 'stop' } as const;
  const last = writer.write({ type: 'finished', outcome, usage: noUsage, finishedAtMs: 1 });
  expect(last).toContain('"type":"error"');
  expect(last).toContain('not told any more');
});
