import type { Reach } from '#access';
import type { Session } from '../query.ts';
import type { SystemStore, TenantStore } from '../store.ts';
import * as apiKeys from './api-keys.ts';
import { audit } from './audit.ts';
import * as conversations from './conversations.ts';
import * as feedback from './feedback.ts';
import * as items from './items.ts';
import { probeRead, probeWrite } from './probe.ts';
import * as releases from './releases.ts';
import * as turns from './turns.ts';
import * as vaultKeys from './vault-keys.ts';

type Method = (...args: never[]) => Promise<unknown>;
type WithinReach<M extends Method> = (session: Session, reach: Reach, ...args: Parameters<M>) => ReturnType<M>;
type OutsideReach<M extends Method> = (session: Session, ...args: Parameters<M>) => ReturnType<M>;

/** Each method of TenantStore, written once for both databases. */
export const tenantOperations: { readonly [Name in keyof TenantStore]: WithinReach<TenantStore[Name]> } = {
  createConversation: conversations.createConversation,
  conversation: conversations.conversation,
  listConversations: conversations.listConversations,
  updateConversation: conversations.updateConversation,
  deleteConversation: conversations.deleteConversation,
  appendItems: items.appendItems,
  items: items.items,
  item: items.item,
  deleteItem: items.deleteItem,
  beginTurn: turns.beginTurn,
  finishTurn: turns.finishTurn,
  turn: turns.turn,
  turnItems: turns.turnItems,
  chainItems: turns.chainItems,
  deleteTurn: turns.deleteTurn,
  putFeedback: feedback.putFeedback,
  feedback: feedback.feedback,
  putRelease: releases.putRelease,
  release: releases.release,
  releasesByPrefix: releases.releasesByPrefix,
};

/** Each method of SystemStore, and the two halves of a probe. */
export const systemOperations: { readonly [Name in keyof SystemStore]: OutsideReach<SystemStore[Name]> } & {
  readonly probeWrite: (session: Session) => Promise<number>;
  readonly probeRead: (session: Session) => Promise<number>;
} = {
  apiKeyByHash: apiKeys.apiKeyByHash,
  apiKeys: apiKeys.apiKeys,
  putApiKey: apiKeys.putApiKey,
  revokeApiKey: apiKeys.revokeApiKey,
  accessRevision: apiKeys.accessRevision,
  audit,
  recordUnstoredTurns: turns.recordUnstoredTurns,
  failLostTurns: turns.failLostTurns,
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

export type OperationName = keyof typeof tenantOperations | keyof typeof systemOperations;

/** Operations that change nothing, each one statement, so each sees one state of the database. */
export const readOperations: ReadonlySet<OperationName> = new Set<OperationName>([
  'conversation',
  'listConversations',
  'items',
  'item',
  'turn',
  'turnItems',
  'chainItems',
  'feedback',
  'release',
  'releasesByPrefix',
  'apiKeyByHash',
  'apiKeys',
  'accessRevision',
  'audit',
  'hasTenantKeys',
  'tenantKey',
  'subjectKey',
  'allTenantKeys',
  'probeRead',
]);

/** One call of an operation, in a form that can be sent to another thread. `reach` null: a system operation. */
export interface Call {
  readonly name: OperationName;
  readonly reach: Reach | null;
  readonly args: readonly unknown[];
}

type AnyOperation = (session: Session, ...args: readonly unknown[]) => Promise<unknown>;

/** Runs a call; what it throws is the database's own error, an UsherError or an Undo. */
export function perform(session: Session, { name, reach, args }: Call): Promise<unknown> {
  if (reach === null) return (systemOperations as unknown as Record<string, AnyOperation>)[name]!(session, ...args);
  return (tenantOperations as unknown as Record<string, AnyOperation>)[name]!(session, reach, ...args);
}
