import type { Migration } from './migration.ts';

/** Which processes work on this database, and what all of them shall serve. */
export const cluster: Migration = {
  number: 3,
  name: 'cluster',
  readableFrom: 1,
  statements: ({ text, integer, table }) => [
    table(
      'nodes',
      `id ${text} primary key,
       roles ${text} not null,
       version ${text} not null,
       host ${text} not null,
       pid ${integer} not null,
       state ${text} not null check (state in ('serving', 'draining')),
       applied_revision ${integer} not null,
       running_turns ${integer} not null,
       problem ${text},
       started_at_ms ${integer} not null,
       heartbeat_at_ms ${integer} not null`,
    ),
    table(
      'snapshots',
      `revision ${integer} primary key,
       digest ${text} not null,
       content ${text} not null,
       published_by ${text} not null,
       published_at_ms ${integer} not null`,
    ),
    `insert into counters (name, value) values ('snapshot', 0)`,
  ],
};
