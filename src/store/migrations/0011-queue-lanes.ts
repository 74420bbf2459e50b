import type { Migration } from './migration.ts';

/** What waits is found by tenant, with listeners or without, and by its deadline. */
export const queueLanes: Migration = {
  number: 11,
  name: 'queue lanes',
  readableFrom: 4,
  statements: () => [
    'drop index queued_by_age',
    'create index queued_of_lane on queued_turns (tenant, background, id)',
    'create index queued_by_deadline on queued_turns (deadline_ms) where deadline_ms is not null',
  ],
};
