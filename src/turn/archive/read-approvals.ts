import type { Id } from '#base';
import { reachOf, type Principal } from '#access';
import type { ApprovalItem, ApprovalRequestItem, Item } from '#conversation';
import { openItem } from '../seal-items.ts';
import type { TurnRooms } from '../turn-rooms.ts';
import { conversationRow } from './archive.ts';

/** What a person said to requests for approval, held against what their conversation knows of it. */
export interface ReadApprovals {
  /** Those that were not given before as they are given now. */
  readonly fresh: readonly ApprovalItem[];
  /** The turn that took the last of the others. */
  readonly takenBy: Id<'turn'> | undefined;
  /** The requests that are refused, now or before, and those that are approved. */
  readonly refused: readonly ApprovalRequestItem[];
  readonly approved: readonly ApprovalRequestItem[];
}

/** An answer follows its request: within so many items, or it counts as none that is known. */
const answersWithin = 200;

function isSame(item: Item, { request, approve }: ApprovalItem): boolean {
  return item.kind === 'approval' && item.request === request && item.approve === approve;
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
  const approved: ApprovalRequestItem[] = [];
  let takenBy: Id<'turn'> | undefined;
  // Each a page of items: as many as there are requests, and not as many as are named.
  for (const approval of new Map(approvals.map((each) => [`${each.request} ${each.approve}`, each])).values()) {
    const asked = await store.item(id, approval.request);
    const request = asked && openItem(vault, asked);
    if (request?.kind !== 'approval-request') {
      fresh.push(approval);
      continue;
    }
    (approval.approve ? approved : refused).push(request);
    const after = { limit: answersWithin, order: 'oldest-first', after: approval.request } as const;
    const before = (await store.items(id, after)).find((row) => isSame(openItem(vault, row), approval));
    if (before === undefined) fresh.push(approval);
    else takenBy = before.turn ?? takenBy;
  }
  return { fresh, takenBy, refused, approved };
}
