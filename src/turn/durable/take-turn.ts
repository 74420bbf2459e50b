import { UsherError, type ErrorCode, type Id } from '#base';
import { reachOf, type TenantId } from '#access';
import { noUsage, nothingTold, replay, type Replayed, type TurnEvent } from '#conversation';
import type { ClaimedTurn, QueuedTurn, TurnRow } from '#store';
import type { SubjectVault } from '#vault';
import { answeredBefore } from '../answer/approvals.ts';
import { openAsked, openInput } from './asked-turn.ts';
import { Audience } from './audience.ts';
import { carryOut, holdTurn, noRoom, type GivenUp } from '../carry-out.ts';
import { dropQueued } from './cancel-turn.ts';
import { recall } from '../recall.ts';
import { nameConversation, newTurn } from '../record.ts';
import { outliveMs } from '../run-turn.ts';
import { openItem, sealItem } from '../seal-items.ts';
import { isStoreAway } from './store-away.ts';
import { eventsPlace } from './turn-log.ts';
import type { TurnRooms } from '../turn-rooms.ts';
import type { PlannedTurn, PromptedTurn, TurnRequest } from '../turn-steps.ts';

/** How many nodes may run a turn, one after another. */
const attemptsMax = 3;
const batchesPerRead = 500;

/**
 * Begins a turn that waited in the queue, or ends it where it waited too long or cannot begin any
 * more. Nothing where it is not its turn. `begun` hears when it is out of the queue; `release` gives
 * its tenant's place back before its end.
 */
export async function beginQueued(
  rooms: TurnRooms,
  tenant: TenantId,
  id: Id<'turn'>,
  { begun, release }: { readonly begun: () => void; readonly release: () => void },
): Promise<void> {
  const store = rooms.store.reach({ tenant, subject: null });
  const queued = await store.queuedTurn(id);
  if (queued === undefined) return;
  const drop = async (code: ErrorCode, message: string): Promise<void> =>
    void (await dropQueued(rooms, { tenant }, queued, { state: 'failed', code, message }));
  if (queued.deadlineMs !== null && queued.deadlineMs < rooms.clock.wallMs()) {
    return drop('conversation_locked', 'The conversation was busy for too long. Send the message again.');
  }
  let vault: SubjectVault;
  let prompted: PromptedTurn;
  try {
    vault = await rooms.vault.subject(tenant, queued.subject);
    const request = openAsked(vault, queued, openInput(vault, id, queued.input));
    prompted = await recall(
      rooms,
      await plan(rooms, request, { row: queued, startedAtMs: queued.queuedAtMs, release }),
    );
  } catch (error) {
    // It waits on, for a look at which the database is there, or for a node that was given the key.
    if (isStoreAway(error) || isKeyMissing(error)) throw error;
    const { code, message } = error instanceof UsherError ? error : new UsherError('internal', 'The server failed.');
    return drop(code, code === 'data_damaged' ? 'This message can no longer be read. Send it again.' : message);
  }
  const begunAtMs = rooms.clock.monotonicMs();
  const row = { ...newTurn(rooms, prompted, vault), queued: true, repeats: queued.repeats };
  const input = prompted.request.input.map((item) => sealItem(vault, item));
  switch (await store.beginQueuedTurn(row, input)) {
    case 'begun':
      break;
    case 'gone':
    case 'locked':
      return;
    case 'repeated':
      return drop('conflict', 'Another request with the same Idempotency-Key was first.');
    case 'answered':
      return drop('invalid_request', answeredBefore().message);
    case 'previous_missing':
      return drop('previous_response_not_found', 'The earlier response was deleted before this one began.');
    case 'conversation_missing':
      return drop('not_found', 'The conversation was deleted before this response began.');
  }
  begun();
  const audience = new Audience(outliveMs(prompted));
  const held = holdTurn(rooms, audience, { id, epoch: 1, begunAtMs });
  await nameConversation(rooms, prompted);
  await carryOut(rooms, prompted, { audience, held: { ...held, firstSeq: 1, from: nothingTold } });
}

function isKeyMissing(error: unknown): boolean {
  return error instanceof UsherError && error.code === 'config_invalid';
}

/** A turn that was claimed: when, by the monotonic clock, and how its tenant's place is given back before its end. */
interface Taken {
  readonly begunAtMs: number;
  readonly release: () => void;
}

/**
 * Goes on with a turn whose node was lost: what it told durably is read back, finished steps are not
 * done again, and the answer under way is gone on with, made anew or failed, as its owner set.
 */
export async function takeOver(rooms: TurnRooms, claimed: ClaimedTurn, taken: Taken): Promise<void> {
  const expected = rooms.leases.expect(claimed.turn);
  try {
    await takeHeld(rooms, claimed, taken);
  } finally {
    expected();
  }
}

async function takeHeld(rooms: TurnRooms, claimed: ClaimedTurn, { begunAtMs, release }: Taken): Promise<void> {
  const { tenant, turn: id, epoch, attempts } = claimed;
  const row = await rooms.store.reach({ tenant, subject: null }).turn(id);
  if (row === undefined || row.state !== 'running' || row.epoch !== epoch) return;
  const read = await readAgain(rooms, row, claimed, release);
  if (read === undefined) return;
  const { turn, from, nextSeq } = read;
  rooms.telemetry.turnTaken({ turn: id, assistant: row.assistant, attempt: attempts });
  const audience = new Audience(outliveMs(turn));
  const held = { ...holdTurn(rooms, audience, { id, epoch, begunAtMs }), firstSeq: nextSeq, from };
  await carryOut(rooms, turn, { audience, held, givenUp: reasonToGiveUp(rooms, turn, attempts) });
}

const interrupted: GivenUp = {
  code: 'interrupted',
  message: 'The server stopped while it made this answer. Send the message again.',
};

function reasonToGiveUp(rooms: TurnRooms, turn: PromptedTurn, attempts: number): GivenUp | undefined {
  if (rooms.live.hadNoRoom(turn.id)) return noRoom;
  return turn.served.release.spec.turns.rescue === 'fail' || attempts > attemptsMax ? interrupted : undefined;
}

interface ReadTurn {
  readonly turn: PromptedTurn;
  readonly from: Replayed;
  readonly nextSeq: number;
}

/** The turn as it stands. One that cannot be read is tried by other nodes, and then ends without what it came to. */
async function readAgain(
  rooms: TurnRooms,
  row: TurnRow,
  claimed: ClaimedTurn,
  release: () => void,
): Promise<ReadTurn | undefined> {
  const { tenant, turn: id, epoch, attempts } = claimed;
  try {
    const vault = await rooms.vault.subject(tenant, row.subject);
    return { ...(await readTold(rooms, tenant, vault, row)), turn: await promptAgain(rooms, vault, row, release) };
  } catch (error) {
    if (attempts <= attemptsMax) throw error;
    const outcome = { state: 'failed', ...interrupted } as const;
    const finish = { outcome, usage: noUsage, backend: null, finishedAtMs: rooms.clock.wallMs(), isHeard: false };
    await rooms.store.reach({ tenant, subject: null }).finishTurn(id, epoch, finish, []);
    return undefined;
  }
}

async function readTold(
  rooms: TurnRooms,
  tenant: TenantId,
  vault: SubjectVault,
  { id }: TurnRow,
): Promise<{ readonly from: Replayed; readonly nextSeq: number }> {
  const store = rooms.store.reach({ tenant, subject: null });
  let from = nothingTold;
  let after = 0;
  for (;;) {
    const batches = await store.turnEvents(id, after, batchesPerRead);
    for (const { epoch, firstSeq, lastSeq, content } of batches) {
      from = replay(JSON.parse(vault.openText(eventsPlace(id, epoch, firstSeq), content)) as TurnEvent[], from);
      after = lastSeq;
    }
    if (batches.length < batchesPerRead) return { from, nextSeq: after + 1 };
  }
}

async function promptAgain(
  rooms: TurnRooms,
  vault: SubjectVault,
  row: TurnRow,
  release: () => void,
): Promise<PromptedTurn> {
  const asked = openAsked(vault, row, []);
  const reach = { tenant: asked.principal.tenant, subject: null };
  const rows = await rooms.store.reach(reach).turnItems(row.id, 'input');
  const request = { ...asked, input: rows.map((item) => openItem(vault, item)) };
  return recall(rooms, await plan(rooms, request, { row, startedAtMs: row.startedAtMs, release }));
}

/** The plan of a turn that was admitted and resolved before. */
async function plan(
  rooms: TurnRooms,
  request: TurnRequest,
  kept: { readonly row: TurnRow | QueuedTurn; readonly startedAtMs: number; readonly release: () => void },
): Promise<PlannedTurn> {
  const { row, startedAtMs, release } = kept;
  const reach = reachOf(request.principal);
  const store = rooms.store.reach(reach);
  return {
    id: row.id,
    request,
    reach,
    startedAtMs,
    startedMonotonicMs: rooms.clock.monotonicMs(),
    release,
    repeats: { idempotency: null, body: null },
    served: await rooms.releases.byDigest(reach.tenant, row.assistant, row.environment, row.release),
    subject: row.subject,
    conversation: row.conversation === null ? undefined : await store.conversation(row.conversation),
  };
}
