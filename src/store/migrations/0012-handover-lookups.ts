import type { Migration } from './migration.ts';

/** The newest turn of a handover, and the handovers of a conversation, are found however many its tenant has. */
export const handoverLookups: Migration = {
  number: 12,
  name: 'handover lookups',
  readableFrom: 4,
  statements: () => [
    'drop index turns_of_handover',
    'create index turns_of_handover on turns (tenant, handover, id) where handover is not null',
    'create index handovers_of_conversation on handovers (tenant, conversation) where conversation is not null',
  ],
};
