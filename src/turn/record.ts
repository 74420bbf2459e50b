import { UsherError, type ErrorCode } from '#base';
import { textOf, type TurnEvent } from '#conversation';
import type { NewTurn } from '#store';
import type { SubjectVault } from '#vault';
import type { Answer } from './answer/answer.ts';
import { answeredBefore } from './answer/approvals.ts';
import { noSuchPrevious } from './archive/no-such-previous.ts';
import type { Audience } from './durable/audience.ts';
import { sealAsked, sealAuthorisation } from './durable/asked-turn.ts';
import type { Dispatched } from './dispatch.ts';
import { turnLeaseMs, type TurnLease } from './durable/turn-leases.ts';
import type { TurnLog } from './durable/turn-log.ts';
import type { TurnRooms } from './turn-rooms.ts';
import { askedLast } from './recall.ts';
import { sealItem } from './seal-items.ts';
import type { PlannedTurn, PromptedTurn } from './turn-steps.ts';

export type FinishedEvent = Extract<TurnEvent, { type: 'finished' }>;

/**
 * Commits the turn as running, with what was said to it: from here on it is never unknown. Answers
 * `locked` where its conversation has another, `repeated` where its idempotency key has its turn.
 */
export async function begin(
  rooms: TurnRooms,
  turn: PlannedTurn,
  vault: SubjectVault,
): Promise<'begun' | 'locked' | 'repeated'> {
  const input = turn.request.input.map((item) => sealItem(vault, item));
  const begun = await rooms.store.reach(turn.reach).beginTurn(newTurn(rooms, turn, vault), input);
  switch (begun) {
    case 'begun':
    case 'locked':
    case 'repeated':
      return begun;
    case 'answered':
      throw answeredBefore();
    case 'conversation_missing':
    case 'previous_missing':
      throw missing(begun);
  }
}

export function newTurn(rooms: TurnRooms, turn: PlannedTurn, vault: SubjectVault): NewTurn {
  const { request } = turn;
  return {
    id: turn.id,
    subject: turn.subject,
    conversation: request.conversation ?? null,
    replaces: request.replaces,
    previous: request.previous ?? null,
    assistant: turn.served.assistant,
    environment: turn.served.environment,
    release: turn.served.release.digest,
    settings: sealAsked(vault, turn.id, request),
    userAuthorisation: sealAuthorisation(vault, turn),
    startedAtMs: turn.startedAtMs,
    background: request.background,
    completion: request.completion,
    queued: false,
    repeats: turn.repeats,
    owner: rooms.leases.owner,
    leaseMs: turnLeaseMs,
  };
}

export function missing(what: 'conversation_missing' | 'previous_missing'): UsherError {
  return what === 'conversation_missing'
    ? new UsherError('not_found', 'There is no such conversation.', { param: 'conversation' })
    : noSuchPrevious();
}

export function conversationLocked(
  message = 'This conversation already has a running response. Wait for its end, or stop it.',
): UsherError {
  return new UsherError('conversation_locked' satisfies ErrorCode, message, { param: 'conversation' });
}

const titleCharactersMax = 80;

/** A conversation is listed by the first thing that was said in it. Without a title it is as good a conversation. */
export async function nameConversation(rooms: TurnRooms, turn: PromptedTurn): Promise<void> {
  const { conversation, vault, memory } = turn;
  if (conversation === undefined || conversation.title !== null || vault === undefined) return;
  const asked = askedLast([...memory.past, ...memory.fresh]);
  const title = asked && textOf(asked.content).replaceAll(/\s+/g, ' ').trim().slice(0, titleCharactersMax);
  if (asked === undefined || title === undefined || title === '') return;
  const content = vault.seal({ table: 'conversations', row: `${conversation.id}/title` }, title);
  try {
    await rooms.store.reach(turn.reach).updateConversation(conversation.id, { title: { content, of: asked.id } });
  } catch (error) {
    if (!(error instanceof UsherError)) throw error;
    rooms.telemetry.storeFailed({ operation: 'updateConversation', code: error.code });
  }
}

export interface Recording {
  readonly answer: Answer;
  readonly answered: Dispatched;
  /** A turn whose events nobody keeps has none. */
  readonly kept: { readonly log: TurnLog; readonly lease: TurnLease; readonly audience: Audience } | undefined;
}

/**
 * Step 6: one transaction with the answer's items, what was really served, its usage and its last
 * events; also after an abort. What cannot be committed is not called completed: it stays running
 * until its lease is over, and then goes on with whatever node can commit it.
 *
 * @throws UsherError of the store; `interrupted` where the turn is another node's, or was deleted
 */
export async function record(rooms: TurnRooms, turn: PromptedTurn, recording: Recording): Promise<FinishedEvent> {
  const { answered } = recording;
  const finished = await commit(rooms, turn, recording);
  const { outcome, usage } = finished;
  rooms.telemetry.turnFinished({
    turn: turn.id,
    tenant: turn.reach.tenant,
    assistant: turn.served.assistant,
    environment: turn.served.environment,
    release: turn.served.release.digest,
    backend: answered.backend,
    model: turn.prompt.model,
    state: outcome.state,
    code: outcome.state === 'failed' ? outcome.code : undefined,
    usage,
    startedAtMs: turn.startedAtMs,
    firstTokenMs: answered.firstTokenMs,
    durationMs: rooms.clock.monotonicMs() - turn.startedMonotonicMs,
  });
  return finished;
}

async function commit(
  rooms: TurnRooms,
  turn: PromptedTurn,
  { answer, answered, kept }: Recording,
): Promise<FinishedEvent> {
  const { outcome, usage, backend } = answered;
  const finishedAtMs = rooms.clock.wallMs();
  const { vault, served, reach } = turn;
  if (kept === undefined || vault === undefined) {
    rooms.unstored.add({
      outcome,
      usage,
      backend,
      finishedAtMs,
      id: turn.id,
      tenant: reach.tenant,
      subject: turn.subject,
      assistant: served.assistant,
      environment: served.environment,
      release: served.release.digest,
      startedAtMs: turn.startedAtMs,
    });
    return { type: 'finished', outcome, usage, finishedAtMs };
  }
  const { log, lease, audience } = kept;
  const output = answer.items.map((item) => sealItem(vault, item));
  try {
    const events = await log.last();
    // The wait may have outlived the lease: events were let go of then, so that the turn is not whole here.
    if (!lease.isHeld()) throw log.failure ?? new UsherError('interrupted', 'The answer is another node’s now.');
    // What a background request is told is that it was taken: its client listens or looks as it likes.
    const isHeard = turn.request.background || audience.isHeard;
    const finish = { outcome, usage, backend, finishedAtMs, isHeard };
    const isHeld = await rooms.store.reach(reach).finishTurn(turn.id, lease.epoch, finish, output, events);
    if (!isHeld) throw new UsherError('interrupted', 'The answer is no longer this node’s, or was deleted.');
    log.end();
    return { type: 'finished', outcome, usage, finishedAtMs };
  } catch (error) {
    if (error instanceof UsherError) rooms.telemetry.storeFailed({ operation: 'finishTurn', code: error.code });
    throw error;
  }
}
