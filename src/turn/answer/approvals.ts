import { UsherError, type Id } from '#base';
import type { ApprovalItem, ApprovalRequestItem, Item } from '#conversation';
import type { TenantStore } from '#store';

/**
 * The calls that the input approves, by the requests in what was said before: those that the model
 * made, and each is answered once.
 *
 * @throws UsherError `invalid_request`
 */
export function approvedCalls(past: readonly Item[], input: readonly Item[]): readonly ApprovalRequestItem[] {
  const answers = input.filter((item) => item.kind === 'approval');
  const answered = new Set(past.filter((item) => item.kind === 'approval').map(({ request }) => request));
  const approved: ApprovalRequestItem[] = [];
  for (const { request, approve } of answers) {
    const asked = past.find((item): item is ApprovalRequestItem => item.id === request && isOurs(item));
    if (asked === undefined) throw refused('There is no such request for approval in this conversation.');
    if (answered.has(request)) throw answeredBefore();
    answered.add(request);
    if (approve) approved.push(asked);
  }
  return approved;
}

function isOurs(item: Item): boolean {
  return item.kind === 'approval-request' && item.sentBack !== true;
}

/**
 * The input with its approvals, known to be of requests of the person's own, as they are stored: under
 * the id that their request gives them. So a request has one answer, whatever follows its response.
 *
 * @throws UsherError `invalid_request` where it has one, or this one would leave no trace
 */
export async function answeredOnce(
  store: Pick<TenantStore, 'storedItem'>,
  turn: { readonly id: Id<'turn'>; readonly request: { readonly input: readonly Item[]; readonly stored: boolean } },
): Promise<readonly Item[]> {
  const { input, stored } = turn.request;
  if (!input.some(({ kind }) => kind === 'approval')) return input;
  if (!stored) throw refused('An approval is for a response that is stored.');
  const asStored: Item[] = [];
  for (const item of input) {
    if (item.kind !== 'approval') asStored.push(item);
    else {
      const id = answerIdOf(item.request);
      const known = await store.storedItem(id);
      // A turn that is gone on with has stored it.
      if (known !== undefined && known.turn !== turn.id) throw answeredBefore();
      asStored.push({ ...item, id });
    }
  }
  return asStored;
}

/** The one id that an answer to this request is stored under. */
export function answerIdOf(request: string): ApprovalItem['id'] {
  return request.replace('mcpr_', 'mcpa_') as ApprovalItem['id'];
}

function answeredBefore(): UsherError {
  return refused('This request for approval was answered before.');
}

function refused(message: string): UsherError {
  return new UsherError('invalid_request', `${message} Send each approval once, to the response that asked for it.`, {
    param: 'input',
  });
}

/** What a model reads of a request that no call came of; undefined where one was approved. */
export function outcomeOf(request: ApprovalRequestItem, items: readonly Item[]): string | undefined {
  const answer = items.find((item): item is ApprovalItem => item.kind === 'approval' && item.request === request.id);
  if (answer === undefined) return 'Not run: the person has not agreed to it.';
  if (answer.approve) return undefined;
  return answer.reason === null
    ? 'Not run: the person refused it.'
    : `Not run: the person refused it: ${answer.reason}`;
}
