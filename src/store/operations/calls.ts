import type { Reach } from '#access';
import type { SystemStore, TenantStore } from '../store.ts';

type Kind = 'read' | 'write';

/*
 * What can be called and whether it writes, apart from the operations themselves: the main thread
 * of the embedded store needs no more, and is spared loading the query builder.
 * A read is one statement, so that it sees one state of the database without a transaction.
 */

export const tenantCalls: Readonly<Record<keyof TenantStore, Kind>> = {
  createConversation: 'write',
  conversation: 'read',
  listConversations: 'read',
  updateConversation: 'write',
  deleteConversation: 'write',
  appendItems: 'write',
  items: 'read',
  item: 'read',
  storedItem: 'read',
  deleteItem: 'write',
  beginTurn: 'write',
  finishTurn: 'write',
  turn: 'read',
  completions: 'read',
  updateTurnSettings: 'write',
  turnEvents: 'read',
  runningTurn: 'read',
  askCancel: 'write',
  endHeard: 'write',
  repeatedTurn: 'write',
  enqueueTurn: 'write',
  queuedTurn: 'read',
  waitingTurns: 'read',
  beginQueuedTurn: 'write',
  endQueuedTurn: 'write',
  turnItems: 'read',
  chainItems: 'read',
  deleteTurn: 'write',
  putFeedback: 'write',
  feedback: 'read',
  openHandover: 'write',
  openHandoverOf: 'read',
  replyTo: 'read',
  putReply: 'write',
  endHandover: 'write',
  handover: 'read',
  openHandovers: 'read',
  putRelease: 'write',
  release: 'read',
  releasesByPrefix: 'read',
  putPassageVectors: 'write',
  passageVectors: 'read',
};

/** With the two halves of a probe. */
export const systemCalls: Readonly<Record<keyof SystemStore | 'probeWrite' | 'probeRead', Kind>> = {
  apiKeyByHash: 'read',
  apiKeys: 'read',
  putApiKey: 'write',
  revokeApiKey: 'write',
  accessRevision: 'read',
  putAudit: 'write',
  audit: 'read',
  recordUnstoredTurns: 'write',
  renewTurns: 'write',
  turnProgress: 'read',
  hearTurns: 'write',
  appendEvents: 'write',
  claimTurns: 'write',
  endLease: 'write',
  expireLeases: 'write',
  readyTurns: 'read',
  deleteEvents: 'write',
  putNode: 'write',
  nodes: 'read',
  removeNode: 'write',
  removeSilentNodes: 'write',
  publishSnapshot: 'write',
  snapshot: 'read',
  snapshotRevision: 'read',
  hasTenantKeys: 'read',
  tenantKey: 'read',
  putTenantKey: 'write',
  subjectKey: 'read',
  putSubjectKey: 'write',
  allTenantKeys: 'read',
  replaceTenantKeys: 'write',
  probeWrite: 'write',
  probeRead: 'read',
};

type SystemCallName = keyof typeof systemCalls;

/** One call of an operation, in a form that can be sent to another thread. */
export type Call =
  | { readonly name: keyof TenantStore; readonly reach: Reach; readonly args: readonly unknown[] }
  | { readonly name: SystemCallName; readonly reach: null; readonly args: readonly unknown[] };

export function writes(call: Call): boolean {
  return (call.reach === null ? systemCalls[call.name] : tenantCalls[call.name]) === 'write';
}
