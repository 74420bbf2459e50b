import type { Migration } from './migration.ts';

/** That a request for approval was answered, whatever becomes of the answer. */
export const answeredRequests: Migration = {
  number: 9,
  name: 'answered requests',
  readableFrom: 4,
  statements: ({ integer }) => [
    `alter table items add column answered ${integer} not null default 0`,
    // Until now an answer had the id that its request gave it.
    `update items set answered = 1 where id like 'mcpr%' and exists (
       select 1 from items as answer
         where answer.tenant = items.tenant and answer.id = replace(items.id, 'mcpr_', 'mcpa_'))`,
  ],
};
