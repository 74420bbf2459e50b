import type { Migration } from './migration.ts';

/** Items are found by their id alone, also those of turns without a conversation. */
export const itemsById: Migration = {
  number: 6,
  name: 'items by id',
  readableFrom: 4,
  statements: () => ['drop index items_by_id', 'create unique index items_by_id on items (tenant, id)'],
};
