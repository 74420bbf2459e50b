import { UsherError, type Id } from '#base';
import { reachOf, type TenantId } from '#access';
import { nothingTold, replay, type Replayed, type TurnEvent, type TurnOutcome } from '#conversation';
import type { ClaimedTurn, QueuedTurn, TurnRow } from '#store';
import type { SubjectVault } from '#vault';
import { openAsked, openInput } from './asked-turn.ts';
import { Audience } from './audience.ts';
import { Answer } from './answer.ts';
import { bridge } from './bridge.ts';
import { carryOut, holdTurn, noRoom, type HeldRun } from './carry-out.ts';
import { dropQueued } from './cancel-turn.ts';
import { recall } from './recall.ts';
import { nameConversation, newTurn, record } from './record.ts';
import { outliveMs } from './run-turn.ts';
import { openItem, sealItem } from './seal-items.ts';
import { eventsPlace, TurnLog } from './turn-log.ts';
import type { TurnRooms } from './turn-rooms.ts';
import type { PlannedTurn, PromptedTurn, TurnRequest } from './turn-steps.ts';

/** How many nodes may run a turn, one after another. */
const attemptsMax = 3;
const batchesPerRead = 500;

/** Begins a turn that waited in the queue, or ends it where it waited too long. Nothing where it is not its turn. */
export async function beginQueued(rooms: TurnRooms, tenant: TenantId, id: Id<'turn'>): Promise<void> {
  const store = rooms.store.reach({ tenant, subject: null });
  const queued = await store.queuedTurn(id);
  if (queued === undefined) return;
  if (queued.deadlineMs !== null && queued.deadlineMs < rooms.clock.wallMs()) {
    const message = 'The conversation was busy for too long. Send the message again.';
    await dropQueued(rooms, { tenant }, queued, { state: 'failed', code: 'conversation_locked', message });
    return;
  }
  const vault = await rooms.vault.subject(tenant, queued.subject);
  const request = openAsked(vault, id, queued.settings, openInput(vault, id, queued.input));
  let prompted: PromptedTurn;
  try {
    prompted = await recall(rooms, await plan(rooms, request, queued, queued.queuedAtMs));
  } catch (error) {
    const { code, message } = error instanceof UsherError ? error : new UsherError('internal', 'The server failed.');
    await dropQueued(rooms, { tenant }, queued, { state: 'failed', code, message });
    return;
  }
  const begunAtMs = rooms.clock.monotonicMs();
  const row = { ...newTurn(rooms, prompted, vault), queued: true, repeats: queued.repeats };
  const input = request.input.map((item) => sealItem(vault, item));
  if ((await store.beginQueuedTurn(row, input)) !== 'begun') return;
  const audience = new Audience(outliveMs(prompted));
  const held = holdTurn(rooms, audience, { id, epoch: 1, begunAtMs });
  await nameConversation(rooms, prompted);
  await carryOut(rooms, prompted, { audience, held: { ...held, firstSeq: 1, from: nothingTold } });
}

/**
 * Goes on with a turn whose node was lost: what it told durably is read back, finished steps are not
 * done again, and the answer under way is gone on with, made anew or failed, as its owner set.
 */
export async function takeOver(rooms: TurnRooms, claimed: ClaimedTurn, begunAtMs: number): Promise<void> {
  const { tenant, turn: id, epoch, attempts } = claimed;
  const row = await rooms.store.reach({ tenant, subject: null }).turn(id);
  if (row === undefined || row.state !== 'running' || row.epoch !== epoch) return;
  const vault = await rooms.vault.subject(tenant, row.subject);
  const { from, nextSeq } = await readTold(rooms, tenant, vault, row);
  const turn = await promptAgain(rooms, vault, row);
  rooms.telemetry.turnTaken({ turn: id, assistant: row.assistant, attempt: attempts });
  const audience = new Audience(outliveMs(turn));
  const held = { ...holdTurn(rooms, audience, { id, epoch, begunAtMs }), firstSeq: nextSeq, from };
  const reason = reasonToGiveUp(rooms, turn, attempts);
  if (reason === undefined) await carryOut(rooms, turn, { audience, held });
  else await giveUp(rooms, turn, vault, { ...held, audience, reason });
}

type Reason = Pick<Extract<TurnOutcome, { state: 'failed' }>, 'code' | 'message'>;

function reasonToGiveUp(rooms: TurnRooms, turn: PromptedTurn, attempts: number): Reason | undefined {
  if (rooms.live.hadNoRoom(turn.id)) return noRoom;
  if (turn.served.release.spec.turns.rescue !== 'fail' && attempts <= attemptsMax) return undefined;
  return { code: 'interrupted', message: 'The server stopped while it made this answer. Send the message again.' };
}

/** The turn ends as failed with what it came to. */
async function giveUp(
  rooms: TurnRooms,
  turn: PromptedTurn,
  vault: SubjectVault,
  held: HeldRun & { readonly audience: Audience; readonly reason: Reason },
): Promise<void> {
  const { live, lease, firstSeq, from, audience, reason } = held;
  const leave = rooms.live.add(turn.id, live);
  try {
    const log = new TurnLog({
      turn: turn.id,
      tenant: turn.reach.tenant,
      subject: turn.subject,
      vault,
      lease,
      writer: rooms.writer,
      firstSeq,
      relay: audience.tell,
      changed: () => live.change(),
      cancel: () => undefined,
      nowMs: () => rooms.clock.wallMs(),
    });
    bridge(from, log.tell);
    const answer = new Answer(log.tell, { from });
    await answer.close('incomplete');
    const outcome = { state: 'failed', ...reason } as const;
    const answered = { outcome, usage: from.usage, backend: from.backend, firstTokenMs: undefined };
    await record(rooms, turn, { answer, answered, log, lease });
  } finally {
    lease.release();
    audience.close();
    leave();
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

async function promptAgain(rooms: TurnRooms, vault: SubjectVault, row: TurnRow): Promise<PromptedTurn> {
  const asked = openAsked(vault, row.id, row.settings, []);
  const reach = { tenant: asked.principal.tenant, subject: null };
  const rows = await rooms.store.reach(reach).turnItems(row.id, 'input');
  const request = { ...asked, input: rows.map((item) => openItem(vault, item)) };
  return recall(rooms, await plan(rooms, request, row, row.startedAtMs));
}

/** The plan of a turn that was admitted and resolved before. */
async function plan(
  rooms: TurnRooms,
  request: TurnRequest,
  row: TurnRow | QueuedTurn,
  startedAtMs: number,
): Promise<PlannedTurn> {
  const reach = reachOf(request.principal);
  const { assistant, environment, release } = row;
  const store = rooms.store.reach(reach);
  return {
    id: row.id,
    request,
    reach,
    startedAtMs,
    startedMonotonicMs: rooms.clock.monotonicMs(),
    release: () => undefined,
    repeats: { idempotency: null, body: null },
    served: await rooms.releases.byDigest(reach.tenant, assistant, environment, release),
    subject: row.subject,
    conversation: row.conversation === null ? undefined : await store.conversation(row.conversation),
  };
}
