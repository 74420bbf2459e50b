import { newId, UsherError, type Id } from '#base';
import type { FunctionTool } from '#backend';
import { noUsage, textOf, type Item, type MessageItem, type ToolItem } from '#conversation';
import type { AssistantSpec } from '#release';
import type { HandoverReply, HandoverRow, TenantStore } from '#store';
import type { Sealed, SubjectVault } from '#vault';
import { allOf } from './all-of.ts';
import type { Answer } from './answer.ts';
import type { PendingTool } from './told-items.ts';
import { Bell } from '../durable/bell.ts';
import { isStoreAway } from '../durable/store-away.ts';
import type { Audience } from '../durable/audience.ts';
import type { TurnRooms } from '../turn-rooms.ts';
import type { PlannedTurn, PromptedTurn } from '../turn-steps.ts';

/*
 * A person in the assistant's place. Handing over is a tool, whoever asks for it: the model, a rule,
 * or a conversation that a person has already; so a turn that waits is journaled, and goes on on
 * another node, as one whose tool takes long.
 */

/** Where the tool comes from, as clients read it. */
export const handoverSource = 'usher';

/** Conversations of one person that people may have at once: each waits, and is looked for, as long as its owner set. */
const openMax = 5;

/** How often a waiting turn looks for its answer. One given on the same node wakes it at once. */
const lookEveryMs = 1000;

interface HandoverWork {
  readonly answer: Answer;
  readonly audience: Audience;
  readonly signal: AbortSignal;
}

type HandoverSettings = NonNullable<AssistantSpec['handover']>;

export const handoverTool: FunctionTool = {
  name: 'hand_over',
  description:
    'Hands this conversation over to a human colleague. Call it where the person asks for a human, or where you cannot help. Tell the person first, in one sentence, that a colleague will answer here.',
  parameters: {
    type: 'object',
    properties: { reason: { type: 'string', description: 'What the colleague should know, in one sentence.' } },
    required: ['reason'],
    additionalProperties: false,
  },
};

/** The settings under which a person may answer this turn; one that is not stored could not wait for them. */
export function handoverOf(turn: Pick<PlannedTurn, 'request' | 'served'>): HandoverSettings | undefined {
  return turn.request.stored ? turn.served.release.spec.handover : undefined;
}

/** Why a person answers before any model is asked. */
export interface HandedFirst {
  readonly reason: string;
  /** What is said first; undefined where they have the conversation already. */
  readonly announce: string | undefined;
}

/** Whether a person has the conversation, or a rule gives it to them. */
export async function handedFirst(rooms: TurnRooms, turn: PromptedTurn): Promise<HandedFirst | undefined> {
  const settings = handoverOf(turn);
  if (settings === undefined) return undefined;
  const { conversation, previous } = turn.request;
  const open = await rooms.store.reach(turn.reach).openHandoverOf(conversation ?? null, previous ?? null);
  if (open !== undefined) return { reason: 'A person has this conversation.', announce: undefined };
  const phrase = phraseIn(settings, turn.request.input);
  if (phrase === undefined) return undefined;
  return { reason: `The message says: ${phrase}`, announce: settings.announce };
}

/** The same call that a model would make. */
export function callPerson(answer: Answer, { reason, announce }: HandedFirst): void | Promise<void> {
  const said = announce === undefined ? undefined : answer.say(announce);
  const called = answer.add({
    type: 'call',
    index: 0,
    callId: newId('call').replace('fc_', 'call_'),
    name: handoverTool.name,
    arguments: JSON.stringify({ reason }),
  });
  return allOf(said, called);
}

/** The call that hands over, where it is not settled. */
export function pendingHandover(answer: Answer): PendingTool | undefined {
  return answer.pending.find(({ item }) => isHandover(item));
}

/** Whether all is said: by a person, or in the place of one who did not come. */
export function isAnsweredByPerson(answer: Answer): boolean {
  return answer.items.some((item) => isHandover(item) && item.output !== null);
}

/** By its name too: a server of tools may have any label. */
export function isHandover(item: Item): item is ToolItem {
  return item.kind === 'tool' && item.source === handoverSource && item.name === handoverTool.name;
}

/** What was said while a person was waited for, before what came of that: a model reads it in this order. */
export function inOrderOfSettling(items: readonly Item[]): readonly Item[] {
  const ordered = [...items];
  for (let at = 0; at + 1 < ordered.length; at += 1) {
    const [call, said] = [ordered[at]!, ordered[at + 1]!];
    const isAnnounced = said.kind === 'message' && said.role === 'assistant' && said.operator === undefined;
    if (!isHandover(call) || !isAnnounced) continue;
    ordered.splice(at, 2, said, call);
    at += 1;
  }
  return ordered;
}

/**
 * Waits for the person. After `over` either they have answered, or somebody in their place, or the
 * call says why the assistant is to answer.
 */
export async function awaitPerson(
  rooms: TurnRooms,
  turn: PromptedTurn,
  work: HandoverWork,
  pending: PendingTool,
): Promise<'over' | 'stopped'> {
  const { answer, audience, signal } = work;
  const settings = handoverOf(turn);
  // Once in a turn: a model that asks again does not make the person wait again.
  const mayAsk = settings !== undefined && !answer.items.some(isHandover);
  const ask = askPatiently(rooms, signal);
  const store = rooms.store.reach(turn.reach);
  // One that it waited in before its node was lost is the same, whatever became of it meanwhile.
  const handover = mayAsk
    ? ((await ask(() => store.replyTo(turn.id))) ?? (await ask(() => open(rooms, turn, settings))))
    : undefined;
  if (settings === undefined || handover === undefined) return handBack(answer, pending, 'No person can be asked now.');
  // Told only now: whoever reads that a person is asked can count on people seeing it.
  if (!pending.acting) await answer.act(pending);
  const isOpenedHere = handover.openedAtMs >= turn.startedAtMs;
  if (isOpenedHere && !answer.items.some(({ kind }) => kind === 'message')) await answer.say(settings.announce);
  // Who waits for a person may leave and come back, and takes no other's place meanwhile.
  audience.outlive(settings.waitMs);
  turn.release();
  const deadlineMs = Math.max(handover.openedAtMs, turn.startedAtMs) + settings.waitMs;
  const live = rooms.live.get(turn.id);
  const bell = new Bell();
  while (!signal.aborted) {
    const changed = live?.changed;
    const found = await ask(() => store.replyTo(turn.id));
    const isOpen = found?.state === 'open' && found.reply === null;
    if (live !== undefined) live.isWaiting = isOpen;
    if (!isOpen) return endWait(rooms, turn, { answer, pending, settings, found });
    if (rooms.clock.wallMs() < deadlineMs) await bell.wait(changed, lookEveryMs, signal);
    // A person may have answered at this very moment: what is found then is what counts.
    else if (await ask(() => store.endHandover(handover.id, 'missed', rooms.clock.wallMs()))) {
      rooms.telemetry.handover({ assistant: turn.served.assistant, event: 'missed' });
    }
  }
  return 'stopped';
}

/** What the person said, or what is to happen without them. */
function endWait(
  rooms: TurnRooms,
  turn: PromptedTurn,
  wait: {
    readonly answer: Answer;
    readonly pending: PendingTool;
    readonly settings: HandoverSettings;
    readonly found: HandoverReply | undefined;
  },
): Promise<'over'> {
  const { answer, pending, settings, found } = wait;
  if (found?.reply != null) {
    const { text, name } = openReply(turn, found.reply);
    rooms.telemetry.handover({ assistant: turn.served.assistant, event: 'answered' });
    return conclude(answer, pending, { text, operator: name, output: `${name} answered.` });
  }
  if (found?.state !== 'missed') {
    return handBack(answer, pending, 'The conversation was handed back to the assistant.');
  }
  const { missed } = settings;
  if (missed === undefined) return handBack(answer, pending, 'No person answered in time.');
  return conclude(answer, pending, { text: missed, output: 'No person answered in time.' });
}

/** The words and the end of the call become durable together: nobody who takes the turn over says them again. */
export async function conclude(
  answer: Answer,
  pending: PendingTool,
  said: { readonly text: string; readonly operator?: string; readonly output: string },
): Promise<'over'> {
  await allOf(answer.say(said.text, said.operator), answer.settle(pending, { output: said.output, error: null }));
  return 'over';
}

async function handBack(answer: Answer, pending: PendingTool, why: string): Promise<'over'> {
  await allOf(
    answer.settle(pending, { output: null, error: `${why} Answer the last message yourself.` }),
    answer.endStep({ usage: noUsage, backend: null }),
  );
  return 'over';
}

/**
 * The handover that this turn waits in: one that is open already, or a new one. Asked again it is the same.
 * Undefined where nobody may be asked.
 */
async function open(
  rooms: TurnRooms,
  turn: PromptedTurn,
  settings: HandoverSettings,
): Promise<Pick<HandoverRow, 'id' | 'openedAtMs'> | undefined> {
  const store = rooms.store.reach(turn.reach);
  const { subject, request, served } = turn;
  const conversation = request.conversation ?? null;
  const id = newId('handover');
  const before = await store.openHandoverOf(conversation, request.previous ?? null);
  // What a call says of itself is the model's to choose.
  const openedBy = phraseIn(settings, request.input) === undefined ? 'model' : 'rule';
  const isRefused =
    before === undefined ? openedBy === 'model' && !settings.tool : await isAwaitedElsewhere(store, before, turn);
  if (isRefused) return undefined;
  const row = before ?? {
    id,
    subject,
    assistant: served.assistant,
    conversation,
    openedBy,
    openedAtMs: rooms.clock.wallMs(),
  };
  // An application's key may stand for many people.
  const handover = await store.openHandover(row, turn.id, request.principal.kind === 'user' ? openMax : null);
  if (handover?.id === id) rooms.telemetry.handover({ assistant: served.assistant, event: `opened by ${openedBy}` });
  return handover;
}

/** Several responses may follow the same one; one of them waits. */
async function isAwaitedElsewhere(store: TenantStore, { id }: HandoverRow, turn: PromptedTurn): Promise<boolean> {
  const waiting = (await store.handover(id))?.waiting ?? turn.id;
  return waiting !== turn.id;
}

/** The first of the settings' phrases that what was said now holds. */
function phraseIn({ phrases }: HandoverSettings, input: readonly Item[]): string | undefined {
  const said = input
    .filter((item) => item.kind === 'message' && item.role === 'user')
    .map((item) => foldCase(textOf((item as MessageItem).content)))
    .join('\n');
  return phrases.find((phrase) => said.includes(foldCase(phrase)));
}

function foldCase(text: string): string {
  return text.normalize('NFKC').toLowerCase();
}

/** What a person answers to a turn, as it waits in the store for whatever node runs that. */
export interface Reply {
  readonly text: string;
  readonly name: string;
}

const place = (turn: Id<'turn'>): { table: string; row: string } => ({ table: 'turns', row: `${turn}/reply` });

export function sealReply(vault: SubjectVault, turn: Id<'turn'>, reply: Reply): Sealed {
  return vault.seal(place(turn), JSON.stringify(reply));
}

function openReply({ id, vault }: PromptedTurn, sealed: Sealed): Reply {
  if (vault === undefined) throw new UsherError('internal', 'A stored turn has no key.');
  return JSON.parse(vault.openText(place(id), sealed)) as Reply;
}

/** A database that is away for a moment ends no wait for a person; one that is away for long ends the lease. */
function askPatiently(rooms: TurnRooms, signal: AbortSignal): <T>(question: () => Promise<T>) => Promise<T> {
  return async (question) => {
    for (;;) {
      try {
        return await question();
      } catch (error) {
        if (signal.aborted || !isStoreAway(error)) throw error;
        rooms.telemetry.storeFailed({ operation: 'handover', code: 'storage_unavailable' });
        await new Bell().wait(undefined, lookEveryMs, signal);
      }
    }
  };
}
