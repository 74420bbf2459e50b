import { UsherError } from '#base';
import type { CompactionItem, Item, Summary } from '#conversation';
import type { SubjectVault } from '#vault';

const thoughtPlace = { table: 'reasoning', row: '' };

/** What a model thought, for the caller to bring back without being able to read or change it. */
export function sealThought(vault: SubjectVault, text: string): string {
  return Buffer.from(vault.seal(thoughtPlace, text)).toString('base64url');
}

/** No row: it leaves with the answer, and comes back as an item of another id. */
const place = { table: 'compactions', row: '' };

export function sealSummary(vault: SubjectVault, summary: Summary): string {
  return Buffer.from(vault.seal(place, JSON.stringify(summary))).toString('base64url');
}

/** @throws UsherError `data_damaged` where it was not sealed here for this person */
export function openSummary(vault: SubjectVault, { sealed }: CompactionItem): Summary {
  return JSON.parse(vault.openText(place, Buffer.from(sealed, 'base64url'))) as Summary;
}

/** Whether an item holds what only the vault can open. */
export function isSealed(item: Item): boolean {
  return item.kind === 'compaction' || (item.kind === 'reasoning' && item.sealed !== undefined);
}

/**
 * The items, with what a model thought readable again. Refuses what a caller invented, changed, or
 * took from another person.
 *
 * @throws UsherError `invalid_request`
 */
export function openSealed(vault: SubjectVault, items: readonly Item[], param: string): readonly Item[] {
  return items.map((item) => {
    if (!isSealed(item)) return item;
    try {
      if (item.kind === 'reasoning') return { ...item, text: openThought(vault, item.sealed ?? '') };
      if (item.kind === 'compaction') openSummary(vault, item);
      return item;
    } catch (cause) {
      throw new UsherError(
        'invalid_request',
        'The "encrypted_content" of an item was not made here for this person, or was changed. Send it as it was answered, with the same "safety_identifier".',
        { param, cause },
      );
    }
  });
}

function openThought(vault: SubjectVault, sealed: string): string {
  return vault.openText(thoughtPlace, Buffer.from(sealed, 'base64url'));
}
