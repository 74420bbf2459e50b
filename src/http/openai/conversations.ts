import { z } from 'zod';
import { parseId } from '#base';
import {
  appendItems,
  createConversation,
  deleteConversation,
  deleteItem,
  listItems,
  readConversation,
  readItem,
  resolveReferences,
  updateMetadata,
  type Conversation,
  type TurnRooms,
} from '#turn';
import type { Exchange, Route } from '../exchange.ts';
import { metadataSchema, newMetadataSchema, readBody, readPage, subjectSchema } from './read-body.ts';
import { FileParts } from './read-file.ts';
import { includedSchema, itemPageSchema, readIncluded } from './read-included.ts';
import { itemsSchema, readItems } from './read-items.ts';
import { talkPolicy } from './talk-policy.ts';
import { itemList, writeItem } from './write-items.ts';

/** The body of `POST /v1/conversations`; `safety_identifier` names the person it will be about. */
export const conversationSchema = z.looseObject({
  items: itemsSchema.max(20).nullish().describe('What was said before it began here.'),
  metadata: metadataSchema.nullish(),
  safety_identifier: subjectSchema.nullish(),
});
export const conversationChangeSchema = z.looseObject({ metadata: newMetadataSchema });
export const conversationItemsSchema = z.looseObject({
  items: itemsSchema.min(1).max(20).describe('What is added at the end, in order.'),
});

export function conversationRoutes(rooms: TurnRooms): Route[] {
  const one = '/v1/conversations/:conversation';
  return [
    {
      method: 'POST',
      path: '/v1/conversations',
      policy: talkPolicy,
      summary: 'Begins a conversation.',
      body: conversationSchema,
      answer: 'The `conversation` object.',
      handle: (exchange) => create(rooms, exchange),
    },
    {
      method: 'GET',
      path: one,
      policy: talkPolicy,
      summary: 'One conversation, without its items.',
      answer: 'The `conversation` object.',
      handle: (exchange) => retrieve(rooms, exchange),
    },
    {
      method: 'POST',
      path: one,
      policy: talkPolicy,
      summary: 'Replaces the metadata of a conversation.',
      body: conversationChangeSchema,
      answer: 'The `conversation` object.',
      handle: (exchange) => update(rooms, exchange),
    },
    {
      method: 'DELETE',
      path: one,
      policy: talkPolicy,
      summary: 'Deletes a conversation with its items and responses; those that run or wait are cancelled first.',
      answer: '`{"id":…,"object":"conversation.deleted","deleted":true}`.',
      handle: (exchange) => remove(rooms, exchange),
    },
    {
      method: 'GET',
      path: `${one}/items`,
      policy: talkPolicy,
      summary: 'Lists the items of a conversation.',
      query: itemPageSchema,
      answer: 'A list of items; `has_more` says whether another page follows.',
      handle: (exchange) => list(rooms, exchange),
    },
    {
      method: 'POST',
      path: `${one}/items`,
      policy: talkPolicy,
      summary: 'Adds items at the end of a conversation, without an answer.',
      query: includedSchema,
      body: conversationItemsSchema,
      answer: 'A list of the items as they were added.',
      handle: (exchange) => append(rooms, exchange),
    },
    {
      method: 'GET',
      path: `${one}/items/:item`,
      policy: talkPolicy,
      summary: 'One item of a conversation.',
      query: includedSchema,
      answer: 'The item.',
      handle: (exchange) => retrieveItem(rooms, exchange),
    },
    {
      method: 'DELETE',
      path: `${one}/items/:item`,
      policy: talkPolicy,
      summary: 'Deletes one item of a conversation, with the events of its response and a title that was made of it.',
      answer: 'The `conversation` object.',
      handle: (exchange) => removeItem(rooms, exchange),
    },
  ];
}

async function create(rooms: TurnRooms, exchange: Exchange): Promise<void> {
  const body = readBody(conversationSchema, await exchange.json());
  const { principal } = exchange;
  const subject = body.safety_identifier ?? undefined;
  const about = { principal, subject, conversation: undefined, previous: undefined };
  const items = await resolveReferences(
    rooms,
    about,
    await readItems(body.items ?? [], new FileParts(rooms, exchange), 'items'),
    'items',
  );
  const asked = { metadata: body.metadata ?? {}, items, subject };
  exchange.sendJson(200, writeConversation(await createConversation(rooms, principal, asked)));
}

async function retrieve(rooms: TurnRooms, exchange: Exchange): Promise<void> {
  exchange.sendJson(
    200,
    writeConversation(await readConversation(rooms, exchange.principal, conversationOf(exchange))),
  );
}

async function update(rooms: TurnRooms, exchange: Exchange): Promise<void> {
  const { metadata } = readBody(conversationChangeSchema, await exchange.json());
  const changed = await updateMetadata(rooms, exchange.principal, conversationOf(exchange), metadata);
  exchange.sendJson(200, writeConversation(changed));
}

async function remove(rooms: TurnRooms, exchange: Exchange): Promise<void> {
  const id = conversationOf(exchange);
  await deleteConversation(rooms, exchange.principal, id);
  exchange.sendJson(200, { id, object: 'conversation.deleted', deleted: true });
}

async function list(rooms: TurnRooms, exchange: Exchange): Promise<void> {
  const page = readPage(exchange.query);
  const { items, hasMore } = await listItems(rooms, exchange.principal, conversationOf(exchange), page);
  exchange.sendJson(200, itemList(items, hasMore, readIncluded(exchange.query)));
}

async function append(rooms: TurnRooms, exchange: Exchange): Promise<void> {
  const body = readBody(conversationItemsSchema, await exchange.json());
  const { principal } = exchange;
  const conversation = parseId('conversation', conversationOf(exchange));
  const about = { principal, subject: undefined, conversation, previous: undefined };
  const items = await resolveReferences(
    rooms,
    about,
    await readItems(body.items, new FileParts(rooms, exchange), 'items'),
    'items',
  );
  await appendItems(rooms, principal, conversationOf(exchange), items);
  exchange.sendJson(200, itemList(items, false, readIncluded(exchange.query)));
}

async function retrieveItem(rooms: TurnRooms, exchange: Exchange): Promise<void> {
  const item = await readItem(rooms, exchange.principal, conversationOf(exchange), exchange.params['item']!);
  exchange.sendJson(200, writeItem(item, readIncluded(exchange.query)));
}

async function removeItem(rooms: TurnRooms, exchange: Exchange): Promise<void> {
  await deleteItem(rooms, exchange.principal, conversationOf(exchange), exchange.params['item']!);
  const conversation = await readConversation(rooms, exchange.principal, conversationOf(exchange));
  exchange.sendJson(200, writeConversation(conversation));
}

function conversationOf(exchange: Exchange): string {
  return exchange.params['conversation']!;
}

function writeConversation(conversation: Conversation): object {
  const { id, metadata, createdAtMs } = conversation;
  return { id, object: 'conversation', metadata, created_at: Math.floor(createdAtMs / 1000) };
}
