import type { Migration } from './migration.ts';

/** What the passages of releases mean, as numbers, by the content of each passage. */
export const knowledgeVectors: Migration = {
  number: 5,
  name: 'knowledge vectors',
  readableFrom: 1,
  statements: ({ text, integer, bytes, table }) => [
    table(
      'passage_vectors',
      `tenant ${text} not null,
       model ${text} not null,
       text_hash ${bytes} not null,
       vector ${bytes} not null,
       created_at_ms ${integer} not null,
       primary key (tenant, model, text_hash)`,
    ),
  ],
};
