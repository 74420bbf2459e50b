import { UsherError } from '#base';
import type { CompactionItem, Item, Summary } from '#conversation';
import type { SubjectVault } from '#vault';

/** No row: it leaves with the answer, and comes back as an item of another id. */
const place = { table: 'compactions', row: '' };

export function sealSummary(vault: SubjectVault, summary: Summary): string {
  return Buffer.from(vault.seal(place, JSON.stringify(summary))).toString('base64url');
}

/** @throws UsherError `data_damaged` where it was not sealed here for this person */
export function openSummary(vault: SubjectVault, { sealed }: CompactionItem): Summary {
  return JSON.parse(vault.openText(place, Buffer.from(sealed, 'base64url'))) as Summary;
}

/**
 * Refuses compactions that a caller invented, changed, or took from another person.
 *
 * @throws UsherError `invalid_request`
 */
export function checkCompactions(vault: SubjectVault, items: readonly Item[], param: string): void {
  for (const item of items) {
    if (item.kind !== 'compaction') continue;
    try {
      openSummary(vault, item);
    } catch (cause) {
      throw new UsherError(
        'invalid_request',
        'A compaction among the items was not made here for this person, or was changed. Send it as it was answered, with the same "safety_identifier".',
        { param, cause },
      );
    }
  }
}
