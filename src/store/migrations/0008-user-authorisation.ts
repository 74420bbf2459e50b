import type { Migration } from './migration.ts';

/** The end user's own bearer of a turn that is not over, for the tools that need it. */
export const userAuthorisation: Migration = {
  number: 8,
  name: 'user-authorisation',
  readableFrom: 4,
  statements: ({ bytes }) => [
    `alter table turns add column user_authorisation ${bytes}`,
    `alter table queued_turns add column user_authorisation ${bytes}`,
  ],
};
