import { UsherError } from '#base';
import type { ApprovalItem, ApprovalRequestItem, Item } from '#conversation';

/**
 * The calls that the input approves, by the requests in what was said before: those that the model
 * made. That each is answered once, whatever follows its response and whatever is deleted, the store
 * sees to.
 *
 * @throws UsherError `invalid_request`, also where the answer would leave no trace
 */
export function approvedCalls(
  past: readonly Item[],
  { input, stored }: { readonly input: readonly Item[]; readonly stored: boolean },
): readonly ApprovalRequestItem[] {
  const answers = input.filter((item) => item.kind === 'approval');
  if (answers.length > 0 && !stored) throw refused('An approval is for a response that is stored.');
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

export function answeredBefore(): UsherError {
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
