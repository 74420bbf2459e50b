import type { Id } from '#base';
import type { QueuedTurn, TenantStore, TurnRow } from '#store';

/** A turn that was taken: in the queue, or begun. */
export type FoundTurn =
  | { readonly turn: TurnRow; readonly queued: undefined }
  | { readonly turn: undefined; readonly queued: QueuedTurn };

/** Looks among those that began, then in the queue, then once more: it may have left it between the two. */
export async function findTurn(store: TenantStore, id: Id<'turn'>): Promise<FoundTurn | undefined> {
  const turn = await store.turn(id);
  if (turn !== undefined) return { turn, queued: undefined };
  const queued = await store.queuedTurn(id);
  if (queued !== undefined) return { turn: undefined, queued };
  const begun = await store.turn(id);
  return begun && { turn: begun, queued: undefined };
}
