import type { Item } from '#conversation';
import type { ItemRow, NewItem } from '#store';
import type { SubjectVault } from '#vault';

export function sealItem(vault: SubjectVault, item: Item): NewItem {
  const sealed = { id: item.id, content: vault.seal({ table: 'items', row: item.id }, JSON.stringify(item)) };
  return item.kind === 'approval' ? { ...sealed, answers: item.request } : sealed;
}

/** The item in a row that we sealed ourselves: its shape is as it was written. */
export function openItem(vault: SubjectVault, row: ItemRow): Item {
  return JSON.parse(vault.openText({ table: 'items', row: row.id }, row.content)) as Item;
}
