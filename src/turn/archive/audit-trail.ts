import { newId, parseId } from '#base';
import type { KeyPrincipal } from '#access';
import type { AuditRecord } from '#store';
import { noCursor } from './no-cursor.ts';
import type { TurnRooms } from '../turn-rooms.ts';

type AuditRooms = Pick<TurnRooms, 'store' | 'clock'>;

/** Records what a key did; `target` names it, never content. */
export function putAudit(
  rooms: AuditRooms,
  { tenant, keyId }: Pick<KeyPrincipal, 'tenant' | 'keyId'>,
  action: string,
  target: string,
): Promise<void> {
  const atMs = rooms.clock.wallMs();
  return rooms.store.system.putAudit({ id: newId('audit', atMs), tenant, atMs, actor: `key:${keyId}`, action, target });
}

/** One page of what was done in the key's tenant, newest first. @throws UsherError `not_found` for an `after` that is none */
export async function listAudit(
  { store }: Pick<AuditRooms, 'store'>,
  { tenant }: Pick<KeyPrincipal, 'tenant'>,
  { limit, after }: { readonly limit: number; readonly after?: string },
): Promise<{ readonly records: readonly AuditRecord[]; readonly hasMore: boolean }> {
  const from = after === undefined ? undefined : parseId('audit', after);
  if (after !== undefined && from === undefined) throw noCursor();
  const rows = await store.system.audit(tenant, limit + 1, from);
  return { records: rows.slice(0, limit), hasMore: rows.length > limit };
}
