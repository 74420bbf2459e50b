import type { Reach } from '#access';
import type { Session } from '../query.ts';
import type { SystemStore, TenantStore } from '../store.ts';
import * as apiKeys from './api-keys.ts';
import { audit, insertAudit } from './audit.ts';
import type { Call } from './calls.ts';
import * as conversations from './conversations.ts';
import * as deletions from './deletions.ts';
import * as feedback from './feedback.ts';
import * as handovers from './handovers.ts';
import * as items from './items.ts';
import * as nodes from './nodes.ts';
import { probeRead, probeWrite } from './probe.ts';
import * as passageVectors from './passage-vectors.ts';
import * as queuedTurns from './queued-turns.ts';
import { readyTurns } from './ready-turns.ts';
import * as releases from './releases.ts';
import * as snapshots from './snapshots.ts';
import * as turnEvents from './turn-events.ts';
import * as turnLeases from './turn-leases.ts';
import * as turnReads from './turn-reads.ts';
import * as turns from './turns.ts';
import * as unstoredTurns from './unstored-turns.ts';
import * as vaultKeys from './vault-keys.ts';

type Method = (...args: never[]) => Promise<unknown>;
type WithinReach<M extends Method> = (session: Session, reach: Reach, ...args: Parameters<M>) => ReturnType<M>;
type OutsideReach<M extends Method> = (session: Session, ...args: Parameters<M>) => ReturnType<M>;

/** Each method of TenantStore, written once for both databases. */
const tenantOperations: { readonly [Name in keyof TenantStore]: WithinReach<TenantStore[Name]> } = {
  createConversation: conversations.createConversation,
  conversation: conversations.conversation,
  listConversations: conversations.listConversations,
  updateConversation: conversations.updateConversation,
  deleteConversation: conversations.deleteConversation,
  appendItems: items.appendItems,
  items: items.items,
  item: items.item,
  storedItem: items.storedItem,
  deleteItem: deletions.deleteItem,
  beginTurn: turns.beginTurn,
  finishTurn: turns.finishTurn,
  turn: turnReads.turn,
  completions: turnReads.completions,
  updateTurnSettings: turns.updateTurnSettings,
  turnEvents: turnEvents.turnEvents,
  runningTurn: turnReads.runningTurn,
  askCancel: turnLeases.askCancel,
  endHeard: turns.endHeard,
  repeatedTurn: queuedTurns.repeatedTurn,
  enqueueTurn: queuedTurns.enqueueTurn,
  queuedTurn: queuedTurns.queuedTurn,
  waitingTurns: queuedTurns.waitingTurns,
  beginQueuedTurn: queuedTurns.beginQueuedTurn,
  endQueuedTurn: queuedTurns.endQueuedTurn,
  turnItems: turnReads.turnItems,
  chainItems: turnReads.chainItems,
  deleteTurn: deletions.deleteTurn,
  putFeedback: feedback.putFeedback,
  feedback: feedback.feedback,
  openHandover: handovers.openHandover,
  openHandoverOf: handovers.openHandoverOf,
  replyTo: handovers.replyTo,
  putReply: handovers.putReply,
  endHandover: handovers.endHandover,
  handover: handovers.handover,
  openHandovers: handovers.openHandovers,
  putRelease: releases.putRelease,
  release: releases.release,
  releasesByPrefix: releases.releasesByPrefix,
  putPassageVectors: passageVectors.putPassageVectors,
  passageVectors: passageVectors.passageVectors,
};

/** Each method of SystemStore, and the two halves of a probe. */
const systemOperations: { readonly [Name in keyof SystemStore]: OutsideReach<SystemStore[Name]> } & {
  readonly probeWrite: (session: Session) => Promise<number>;
  readonly probeRead: (session: Session) => Promise<number>;
} = {
  apiKeyByHash: apiKeys.apiKeyByHash,
  apiKeys: apiKeys.apiKeys,
  putApiKey: apiKeys.putApiKey,
  revokeApiKey: apiKeys.revokeApiKey,
  accessRevision: apiKeys.accessRevision,
  putAudit: insertAudit,
  audit,
  recordUnstoredTurns: unstoredTurns.recordUnstoredTurns,
  renewTurns: turnLeases.renewTurns,
  turnProgress: turnEvents.turnProgress,
  hearTurns: turnLeases.hearTurns,
  appendEvents: turnEvents.appendEvents,
  claimTurns: turnLeases.claimTurns,
  endLease: turnLeases.endLease,
  expireLeases: turnLeases.expireLeases,
  readyTurns: readyTurns,
  deleteEvents: turnEvents.deleteEvents,
  putNode: nodes.putNode,
  nodes: nodes.nodes,
  removeNode: nodes.removeNode,
  removeSilentNodes: nodes.removeSilentNodes,
  publishSnapshot: snapshots.publishSnapshot,
  snapshot: snapshots.snapshot,
  snapshotRevision: snapshots.snapshotRevision,
  hasTenantKeys: vaultKeys.hasTenantKeys,
  tenantKey: vaultKeys.tenantKey,
  putTenantKey: vaultKeys.putTenantKey,
  subjectKey: vaultKeys.subjectKey,
  putSubjectKey: vaultKeys.putSubjectKey,
  allTenantKeys: vaultKeys.allTenantKeys,
  replaceTenantKeys: vaultKeys.replaceTenantKeys,
  probeWrite,
  probeRead,
};

type AnyOperation = (session: Session, ...args: readonly unknown[]) => Promise<unknown>;

/** Runs a call; what it throws is the database's own error, an UsherError or an Undo. */
export function perform(session: Session, call: Call): Promise<unknown> {
  if (call.reach === null) return (systemOperations[call.name] as AnyOperation)(session, ...call.args);
  return (tenantOperations[call.name] as AnyOperation)(session, call.reach, ...call.args);
}
