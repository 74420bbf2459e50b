import type { Migration } from './migration.ts';

/** Which item a conversation's title was made of. */
export const titledBy: Migration = {
  number: 10,
  name: 'titled by',
  readableFrom: 4,
  statements: ({ text }) => [`alter table conversations add column titled_by ${text}`],
};
