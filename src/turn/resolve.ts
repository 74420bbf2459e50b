import { UsherError } from '#base';
import type { SubjectId } from '#access';
import type { ServedRelease } from '#release';
import type { ConversationRow, TurnRow } from '#store';
import { refuseTools } from './answer/turn-tools.ts';
import { chargePerson, checkLength } from './archive/admit-said.ts';
import { isBeyond } from './archive/beyond.ts';
import { noSuchPrevious } from './archive/no-such-previous.ts';
import { findTurn } from './durable/find-turn.ts';
import { repeatKeys } from './durable/repeats.ts';
import { isSealed, openSealed } from './context/seal-for-caller.ts';
import type { TurnRooms } from './turn-rooms.ts';
import type { AdmittedTurn, PlannedTurn, TurnRequest } from './turn-steps.ts';

/**
 * Step 2: assistant -> environment -> assignment -> release. What a conversation (or a chain of
 * turns) began with stays; else the unit of assignment is the subject, the conversation, the turn.
 * A person is charged first, and the tenant last: what is refused costs nothing of what others share.
 *
 * @throws UsherError `not_found`, `model_not_found`, `previous_response_not_found`, `invalid_request`, `too_large`, `rate_limited`
 */
export async function resolve(rooms: TurnRooms, turn: AdmittedTurn): Promise<PlannedTurn> {
  const { request, reach } = turn;
  const { principal } = request;
  if (principal.kind === 'user') await chargePerson(rooms, 'turn', principal);
  const store = rooms.store.reach(reach);
  const conversation = request.conversation === undefined ? undefined : await store.conversation(request.conversation);
  if (request.conversation !== undefined && isBeyond(principal, conversation)) {
    throw new UsherError('not_found', 'There is no such conversation.', { param: 'conversation' });
  }
  const found = request.previous === undefined ? undefined : await findTurn(store, request.previous);
  const previous = found?.turn;
  if (found?.queued !== undefined && !isBeyond(principal, found.queued)) {
    throw new UsherError('invalid_request', 'The earlier response has not begun yet. Wait for its end, or stop it.', {
      param: 'previous_response_id',
    });
  }
  if (request.previous !== undefined && isBeyond(principal, previous)) throw noSuchPrevious();
  if (previous?.state === 'running') {
    throw new UsherError('invalid_request', 'The earlier response is still running. Wait for its end, or stop it.', {
      param: 'previous_response_id',
    });
  }
  const subject = subjectOf(request, conversation ?? previous);
  const input = request.input.some(isSealed)
    ? openSealed(await rooms.vault.subject(reach.tenant, subject), request.input, 'input')
    : request.input;
  const served = await servedRelease(rooms, turn, conversation ?? previous);
  if (principal.kind === 'user') checkLength(request.input, served.release.spec.limits, 'input');
  await refuseTools(rooms, { request, served, reach });
  const repeats = await repeatKeys(rooms, request);
  const giveBack = rooms.limits.admit(principal, rooms.clock.monotonicMs(), request.background);
  const release = (): void => giveBack(rooms.clock.monotonicMs());
  return { ...turn, request: { ...request, input }, conversation, subject, served, repeats, release };
}

type Begun = ConversationRow | TurnRow;

/** Whose content this is: a thread's own subject first, so that one thread lies under one key. */
export function subjectOf(
  { principal, subject }: Pick<TurnRequest, 'principal' | 'subject'>,
  begun: Pick<Begun, 'subject'> | undefined,
): SubjectId {
  if (begun !== undefined) return begun.subject;
  if (principal.kind === 'user') return principal.subject;
  return (subject ?? `app:${principal.keyId}`) as SubjectId;
}

async function servedRelease(rooms: TurnRooms, turn: AdmittedTurn, begun: Begun | undefined): Promise<ServedRelease> {
  const { request, reach } = turn;
  const target = await rooms.releases.resolve(reach.tenant, request.model);
  const { assistant = null, release = null } = begun ?? {};
  const isOther = assistant !== null && assistant !== target.assistant;
  if (isOther || (target.kind === 'release' && release !== null && target.digest !== release)) {
    throw new UsherError(
      'invalid_request',
      `This conversation began with ${assistant}${release === null ? '' : `@${release}`} and stays with it. Start a new one to talk with ${request.model}.`,
      { param: 'model' },
    );
  }
  if (release === null || assistant === null) return rooms.releases.choose(target, unitOf(turn, begun));
  const environment = target.kind === 'environment' ? target.environment : 'pinned';
  return rooms.releases.byDigest(reach.tenant, assistant, environment, release);
}

/** The unit of assignment: the subject where one is known, else the conversation, else this turn alone. */
function unitOf(turn: AdmittedTurn, begun: Begun | undefined): string {
  const { principal, subject } = turn.request;
  if (principal.kind === 'user') return principal.subject;
  return subject ?? begun?.id ?? turn.id;
}
