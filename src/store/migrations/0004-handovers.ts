import type { Migration } from './migration.ts';

/** Conversations that a person answers. */
export const handovers: Migration = {
  number: 4,
  name: 'handovers',
  readableFrom: 4,
  statements: ({ text, integer, bytes, table }) => [
    `alter table turns add column handover ${text}`,
    `alter table turns add column reply ${bytes}`,
    `create index turns_of_handover on turns (tenant, handover) where handover is not null`,

    table(
      'handovers',
      `tenant ${text} not null,
       id ${text} not null,
       subject ${text} not null,
       assistant ${text} not null,
       conversation ${text},
       state ${text} not null,
       opened_by ${text} not null,
       opened_at_ms ${integer} not null,
       ended_at_ms ${integer},
       primary key (tenant, id),
       foreign key (tenant, conversation) references conversations (tenant, id) on delete cascade`,
    ),
    `create unique index handovers_open on handovers (tenant, conversation)
       where state = 'open' and conversation is not null`,
    `create index handovers_by_age on handovers (tenant, id) where state = 'open'`,
  ],
};
