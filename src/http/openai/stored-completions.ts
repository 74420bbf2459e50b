import { z } from 'zod';
import type { Item } from '#conversation';
import {
  changeCompletion,
  deleteCompletion,
  listCompletions,
  readCompletion,
  readCompletionInput,
  type Completion,
  type TurnRooms,
} from '#turn';
import type { Exchange, Route } from '../exchange.ts';
import { modelSchema, newMetadataSchema, pageOf, pageSchema, readBody, readQuery } from './read-body.ts';
import type { ResponseSettings } from './response-body.ts';
import { talkPolicy } from './talk-policy.ts';
import { servedModel, completionIdOf, turnOfCompletionId } from './wire-ids.ts';
import { writeCompletion } from './write-completion.ts';
import { writeMessages } from './write-messages.ts';

const changeSchema = z.looseObject({ metadata: newMetadataSchema });
/** Here the oldest come first where nothing else is asked for. */
const messagesPageSchema = pageSchema.extend({
  order: z.enum(['asc', 'desc']).default('asc').describe('`asc`: oldest first.'),
});
const listSchema = z.looseObject({
  ...messagesPageSchema.shape,
  model: modelSchema.optional().describe('Those of this assistant, or of this release of it, as `model` says there.'),
  'metadata[…]': z.string().optional().describe('Those with this value under that name, as `metadata[topic]=seats`.'),
});

export function storedCompletionRoutes(rooms: TurnRooms): Route[] {
  const one = '/v1/chat/completions/:completion';
  return [
    {
      method: 'GET',
      path: '/v1/chat/completions',
      policy: talkPolicy,
      summary: 'Lists the chat completions that were stored.',
      query: listSchema,
      answer: 'A list of `chat.completion` objects with their `metadata`.',
      handle: (exchange) => list(rooms, exchange),
    },
    {
      method: 'GET',
      path: one,
      policy: talkPolicy,
      summary: 'A chat completion that was stored with `store: true`.',
      answer: 'The `chat.completion` object with its `metadata`.',
      handle: async (exchange) => {
        exchange.sendJson(200, writeStored(await readCompletion(rooms, exchange.principal, turnOf(exchange))));
      },
    },
    {
      method: 'GET',
      path: `${one}/messages`,
      policy: talkPolicy,
      summary: 'Lists the messages that were sent with a stored chat completion.',
      query: messagesPageSchema,
      answer: 'A list of messages, each with an `id`.',
      handle: (exchange) => listMessages(rooms, exchange),
    },
    {
      method: 'POST',
      path: one,
      policy: talkPolicy,
      summary: 'Replaces the metadata of a stored chat completion.',
      body: changeSchema,
      answer: 'The `chat.completion` object with its `metadata`.',
      handle: (exchange) => change(rooms, exchange),
    },
    {
      method: 'DELETE',
      path: one,
      policy: talkPolicy,
      summary: 'Deletes a stored chat completion with what was said and answered.',
      answer: '`{"id":…,"object":"chat.completion.deleted","deleted":true}`.',
      handle: (exchange) => remove(rooms, exchange),
    },
  ];
}

async function list(rooms: TurnRooms, exchange: Exchange): Promise<void> {
  const { limit, order, after, model } = readQuery(listSchema, exchange.query);
  const wanted = [...exchange.query].flatMap(([name, value]) => {
    const key = /^metadata\[(.+)\]$/.exec(name)?.[1];
    return key === undefined ? [] : [[key, value] as const];
  });
  const page = {
    limit,
    order: order === 'asc' ? ('oldest-first' as const) : ('newest-first' as const),
    after: after === undefined ? undefined : turnOfCompletionId(after),
  };
  const isWanted = ({ turn, settings }: Pick<Completion, 'turn' | 'settings'>): boolean => {
    if (model !== undefined && model !== turn.assistant && model !== servedModel(turn.assistant, turn.release)) {
      return false;
    }
    const { metadata } = settingsIn(settings);
    return wanted.every(([name, value]) => Object.hasOwn(metadata, name) && metadata[name] === value);
  };
  const { completions, hasMore, last } = await listCompletions(rooms, exchange.principal, page, isWanted);
  const ids = completions.map(({ turn }) => completionIdOf(turn.id));
  const listed = listOf(completions.map(writeStored), ids, hasMore);
  exchange.sendJson(200, last === undefined ? listed : { ...listed, last_id: completionIdOf(last) });
}

async function listMessages(rooms: TurnRooms, exchange: Exchange): Promise<void> {
  const page = readQuery(messagesPageSchema, exchange.query);
  const items: readonly Item[] = await readCompletionInput(rooms, exchange.principal, turnOf(exchange));
  const messages = writeMessages(items);
  const { shown, hasMore } = pageOf(page.order === 'asc' ? messages : messages.toReversed(), page);
  const ids = shown.map(({ id }) => id);
  exchange.sendJson(200, listOf(shown, ids, hasMore));
}

async function change(rooms: TurnRooms, exchange: Exchange): Promise<void> {
  const { metadata } = readBody(changeSchema, await exchange.json());
  const changed = await changeCompletion(rooms, exchange.principal, turnOf(exchange), (settings) => {
    return JSON.stringify({ ...settingsIn(settings), metadata } satisfies ResponseSettings);
  });
  exchange.sendJson(200, writeStored(changed));
}

async function remove(rooms: TurnRooms, exchange: Exchange): Promise<void> {
  const turn = turnOf(exchange);
  await deleteCompletion(rooms, exchange.principal, turn);
  exchange.sendJson(200, { id: completionIdOf(turn), object: 'chat.completion.deleted', deleted: true });
}

function turnOf(exchange: Exchange): Completion['turn']['id'] {
  return turnOfCompletionId(exchange.params['completion']!);
}

function settingsIn(settings: string): ResponseSettings {
  return JSON.parse(settings) as ResponseSettings;
}

function writeStored(completion: Completion): object {
  const { metadata, asksFunctions } = settingsIn(completion.settings);
  return { ...writeCompletion([completion], asksFunctions), metadata };
}

function listOf(data: readonly object[], ids: readonly string[], hasMore: boolean): object {
  return { object: 'list', data, first_id: ids[0] ?? '', last_id: ids.at(-1) ?? '', has_more: hasMore };
}
