import { UsherError, type ErrorCode } from '#base';
import type { TurnEvent } from '#conversation';
import type { SubjectVault } from '#vault';
import type { Answer } from './answer.ts';
import { noUsage, type Dispatched } from './dispatch.ts';
import { turnLeaseMs, type TurnLease } from './turn-leases.ts';
import type { TurnRooms } from './turn-rooms.ts';
import { sealItem } from './seal-items.ts';
import type { PromptedTurn } from './turn-steps.ts';

export type FinishedEvent = Extract<TurnEvent, { type: 'finished' }>;

/**
 * Commits the turn as running, with what was said to it: from here on it is never unknown. Answers
 * the lease under which this node runs it; none where nothing is kept.
 */
export async function begin(rooms: TurnRooms, turn: PromptedTurn): Promise<TurnLease | undefined> {
  const { request, vault } = turn;
  if (!request.stored || vault === undefined) return undefined;
  const begunAtMs = rooms.clock.monotonicMs();
  try {
    await beginStored(rooms, turn, vault);
    return rooms.leases.hold(turn.id, begunAtMs);
  } catch (error) {
    // The store may have committed before it failed.
    if (error instanceof UsherError && !refusals.has(error.code)) {
      const finishedAtMs = rooms.clock.wallMs();
      rooms.unfinished.add(turn.reach, turn.id, { usage: noUsage, backend: null, finishedAtMs }, error);
    }
    throw error;
  }
}

/** What `beginStored` says of a turn that did not begin. */
const refusals: ReadonlySet<ErrorCode> = new Set(['conversation_locked', 'not_found']);

async function beginStored(rooms: TurnRooms, turn: PromptedTurn, vault: SubjectVault): Promise<void> {
  const { request } = turn;
  const begun = await rooms.store.reach(turn.reach).beginTurn(
    {
      id: turn.id,
      subject: turn.subject,
      conversation: request.conversation ?? null,
      previous: request.previous ?? null,
      assistant: turn.served.assistant,
      environment: turn.served.environment,
      release: turn.served.release.digest,
      settings: vault.seal({ table: 'turns', row: turn.id }, request.settings),
      startedAtMs: turn.startedAtMs,
      owner: rooms.leases.owner,
      leaseMs: turnLeaseMs,
    },
    request.input.map((item) => sealItem(vault, item)),
  );
  switch (begun) {
    case 'begun':
      return nameConversation(rooms, turn, vault);
    case 'locked':
      throw new UsherError(
        'conversation_locked',
        'This conversation already has a running response. Wait for its end, or stop it.',
        { param: 'conversation' },
      );
    case 'conversation_missing':
      throw new UsherError('not_found', 'There is no such conversation.', { param: 'conversation' });
    case 'previous_missing':
      throw new UsherError('not_found', 'There is no such earlier response.', { param: 'previous_response_id' });
  }
}

const titleCharactersMax = 80;

/** A conversation is listed by the first thing that was said in it. Without a title it is as good a conversation. */
async function nameConversation(rooms: TurnRooms, turn: PromptedTurn, vault: SubjectVault): Promise<void> {
  const { conversation } = turn;
  if (conversation === undefined || conversation.title !== null) return;
  const title = turn.prompt.question.replaceAll(/\s+/g, ' ').trim().slice(0, titleCharactersMax);
  if (title === '') return;
  const sealed = vault.seal({ table: 'conversations', row: `${conversation.id}/title` }, title);
  try {
    await rooms.store.reach(turn.reach).updateConversation(conversation.id, { title: sealed });
  } catch (error) {
    if (!(error instanceof UsherError)) throw error;
    rooms.telemetry.storeFailed({ operation: 'updateConversation', code: error.code });
  }
}

/**
 * Step 6: one transaction with the answer's items, what was really served and its usage; also after
 * an abort. What cannot be committed is not called completed.
 */
export async function record(
  rooms: TurnRooms,
  turn: PromptedTurn,
  answer: Answer,
  dispatched: Dispatched,
): Promise<FinishedEvent> {
  const finished = await commit(rooms, turn, answer, dispatched);
  const { outcome, usage } = finished;
  rooms.telemetry.turnFinished({
    turn: turn.id,
    tenant: turn.reach.tenant,
    assistant: turn.served.assistant,
    environment: turn.served.environment,
    release: turn.served.release.digest,
    backend: dispatched.backend,
    model: turn.prompt.model,
    state: outcome.state,
    code: outcome.state === 'failed' ? outcome.code : undefined,
    usage,
    startedAtMs: turn.startedAtMs,
    firstTokenMs: dispatched.firstTokenMs,
    durationMs: rooms.clock.monotonicMs() - turn.startedMonotonicMs,
  });
  return finished;
}

async function commit(
  rooms: TurnRooms,
  turn: PromptedTurn,
  answer: Answer,
  { outcome, usage, backend }: Dispatched,
): Promise<FinishedEvent> {
  const finish = { outcome, usage, backend, finishedAtMs: rooms.clock.wallMs() };
  const { request, vault, served, reach } = turn;
  if (!request.stored || vault === undefined) {
    rooms.unstored.add({
      ...finish,
      id: turn.id,
      tenant: reach.tenant,
      subject: turn.subject,
      assistant: served.assistant,
      environment: served.environment,
      release: served.release.digest,
      startedAtMs: turn.startedAtMs,
    });
    return { type: 'finished', outcome, usage, finishedAtMs: finish.finishedAtMs };
  }
  try {
    const output = answer.items.map((item) => sealItem(vault, item));
    const held = await rooms.store.reach(reach).finishTurn(turn.id, finish, output);
    if (held) return { type: 'finished', outcome, usage, finishedAtMs: finish.finishedAtMs };
    return lost(finish, new UsherError('interrupted', 'The conversation was deleted while the answer was made.'));
  } catch (error) {
    if (!(error instanceof UsherError)) throw error;
    rooms.telemetry.storeFailed({ operation: 'finishTurn', code: error.code });
    rooms.unfinished.add(reach, turn.id, finish, error);
    return lost(finish, error);
  }
}

function lost(finish: Pick<FinishedEvent, 'usage' | 'finishedAtMs'>, error: UsherError): FinishedEvent {
  const { usage, finishedAtMs } = finish;
  return {
    type: 'finished',
    outcome: { state: 'failed', code: error.code, message: error.message },
    usage,
    finishedAtMs,
  };
}
