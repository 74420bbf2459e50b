import type { Migration } from './migration.ts';

/** Which turns are listed as stored chat completions. */
export const completions: Migration = {
  number: 7,
  name: 'completions',
  readableFrom: 4,
  statements: ({ integer }) => [
    `alter table turns add column completion ${integer} not null default 0`,
    'create index turns_completions on turns (tenant, id) where completion = 1',
  ],
};
