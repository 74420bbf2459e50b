import type { Id } from '#base';
import { reachOf, type Principal } from '#access';
import type { ApprovalItem, ApprovalRequestItem } from '#conversation';
import { answerIdOf } from '../answer/approvals.ts';
import { openItem } from '../seal-items.ts';
import type { TurnRooms } from '../turn-rooms.ts';
import { conversationRow } from './archive.ts';

/** What a person said to requests for approval, held against what their conversation knows of it. */
export interface ReadApprovals {
  /** Those that were not given before as they are given now. */
  readonly fresh: readonly ApprovalItem[];
  /** The turn that took the last of the others. */
  readonly takenBy: Id<'turn'> | undefined;
  /** The requests that are refused, now or before. */
  readonly refused: readonly ApprovalRequestItem[];
}

/** @throws UsherError `not_found` where there is no such conversation */
export async function readApprovals(
  rooms: Pick<TurnRooms, 'store' | 'vault'>,
  principal: Principal,
  conversation: string,
  approvals: readonly ApprovalItem[],
): Promise<ReadApprovals> {
  const { id, subject } = await conversationRow(rooms, principal, conversation);
  const store = rooms.store.reach(reachOf(principal));
  const vault = await rooms.vault.subject(principal.tenant, subject);
  const fresh: ApprovalItem[] = [];
  const refused: ApprovalRequestItem[] = [];
  let takenBy: Id<'turn'> | undefined;
  for (const approval of approvals) {
    const [asked, answer] = await Promise.all([
      store.item(id, approval.request),
      store.item(id, answerIdOf(approval.request)),
    ]);
    const request = asked && openItem(vault, asked);
    if (!approval.approve && request?.kind === 'approval-request') refused.push(request);
    const before = answer && openItem(vault, answer);
    if (before?.kind === 'approval' && before.approve === approval.approve) takenBy = answer?.turn ?? takenBy;
    else fresh.push(approval);
  }
  return { fresh, takenBy, refused };
}
