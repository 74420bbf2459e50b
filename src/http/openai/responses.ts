import { z } from 'zod';
import { UsherError } from '#base';
import {
  cancelTurn,
  compactInput,
  countInputTokens,
  deleteTurn,
  followTurn,
  readConversation,
  readTurn,
  readTurnInput,
  resolveReferences,
  runTurn,
  startInBackground,
  type RecordedTurn,
  type TurnRequest,
  type TurnRooms,
} from '#turn';
import type { Exchange, Route } from '../exchange.ts';
import { answerStreamed, answerWhole, type Telling } from './answer-exchange.ts';
import { refuseUnserved } from './other-wire.ts';
import { pageOf, readBody, readPage, readQuery } from './read-body.ts';
import { FileParts } from './read-file.ts';
import { includedSchema, itemPageSchema, readIncluded } from './read-included.ts';
import { readItems } from './read-items.ts';
import {
  compactSchema,
  countSchema,
  readResponseRequest,
  readSettings,
  responseSchema,
} from './read-response-request.ts';
import {
  recordedResponse,
  recordedSettings,
  reasonOf,
  responseBody,
  writeUsage,
  type ResponseSettings,
} from './response-body.ts';
import { ResponseEventWriter } from './response-events.ts';
import { talkPolicy } from './talk-policy.ts';
import { responseIdOf, turnOfPrevious, turnOfResponseId } from './wire-ids.ts';
import { itemList, writeItem } from './write-items.ts';

export function responseRoutes(rooms: TurnRooms): Route[] {
  return [
    {
      method: 'POST',
      path: '/v1/responses',
      policy: talkPolicy,
      summary: 'Runs one turn: the assistant answers what is said.',
      body: responseSchema,
      answer: 'The `response` object; with `stream: true` the [events of a response](#events-of-a-response).',
      handle: (exchange) => createResponse(rooms, exchange),
    },
    {
      method: 'POST',
      path: '/v1/responses/input_tokens',
      policy: talkPolicy,
      summary: 'Counts the tokens that a model would read for this request, without asking one.',
      body: countSchema,
      answer: '`{"object":"response.input_tokens","input_tokens":…}`; estimated.',
      handle: (exchange) => countInput(rooms, exchange),
    },
    {
      method: 'POST',
      path: '/v1/responses/compact',
      policy: talkPolicy,
      summary: 'Has a model summarise what was said, to go on from there. Nothing is stored.',
      body: compactSchema,
      answer:
        'A `response.compaction` object; its `output`, the newest messages of the user and a `compaction`, goes before the next `input` as it is.',
      handle: (exchange) => compact(rooms, exchange),
    },
    {
      method: 'GET',
      path: '/v1/responses/:response',
      policy: talkPolicy,
      summary: 'A stored response, also while it waits or runs.',
      query: retrieveSchema,
      answer:
        'The `response` object; with `stream=true` its [events](#events-of-a-response) from the first on, or from the one after `starting_after`, whatever node makes them. A day after its end they are told anew of its items, each in one piece, and `starting_after` is refused.',
      handle: (exchange) => retrieve(rooms, exchange),
    },
    {
      method: 'POST',
      path: '/v1/responses/:response/cancel',
      policy: talkPolicy,
      summary: 'Stops a response wherever it is made, and keeps what came. One that has ended stays as it ended.',
      answer: 'The `response` object.',
      handle: (exchange) => cancel(rooms, exchange),
    },
    {
      method: 'DELETE',
      path: '/v1/responses/:response',
      policy: talkPolicy,
      summary: 'Deletes a stored response with what was said and answered.',
      answer: '`{"id":…,"object":"response.deleted","deleted":true}`.',
      handle: (exchange) => remove(rooms, exchange),
    },
    {
      method: 'GET',
      path: '/v1/responses/:response/input_items',
      policy: talkPolicy,
      summary: 'Lists the items that were said to a stored response.',
      query: itemPageSchema,
      answer: 'A list of items; `has_more` says whether another page follows.',
      handle: (exchange) => inputItems(rooms, exchange),
    },
  ];
}

async function createResponse(rooms: TurnRooms, exchange: Exchange): Promise<void> {
  const sent = await exchange.json();
  refuseUnserved(sent);
  const body = readBody(responseSchema, sent);
  const settings = readSettings(body);
  const request = await readRequest(rooms, exchange, body, settings);
  if (request.background) return createInBackground(rooms, exchange, request, body.stream === true);
  const telling: Telling = (relay) => runTurn(rooms, request, relay, exchange.signal);
  if (body.stream === true) return answerStreamed(exchange, [{ writer: new ResponseEventWriter(settings), telling }]);
  const { turn, items, outcome, usage, finishedAtMs } = await answerWhole(telling);
  exchange.setHeader('x-usher-release', turn.release);
  exchange.sendJson(
    200,
    responseBody({ ...turn, state: outcome.state, ...reasonOf(outcome), items, usage, finishedAtMs, settings }),
  );
}

async function readRequest(
  rooms: TurnRooms,
  exchange: Exchange,
  body: z.infer<typeof responseSchema>,
  settings: ResponseSettings,
): Promise<TurnRequest> {
  const request = readResponseRequest(exchange, body, settings);
  const said = await readItems(body.input, new FileParts(rooms, exchange), 'input');
  return { ...request, input: await resolveReferences(rooms, request, said, 'input') };
}

async function countInput(rooms: TurnRooms, exchange: Exchange): Promise<void> {
  const asked = readBody(countSchema, await exchange.json());
  const model = asked.model ?? (await assistantBefore(rooms, exchange, asked));
  const body = { ...asked, model, input: asked.input ?? [] };
  const request = await readRequest(rooms, exchange, body, readSettings(body));
  exchange.sendJson(200, { object: 'response.input_tokens', input_tokens: await countInputTokens(rooms, request) });
}

/** Who is asked where the caller does not say. */
async function assistantBefore(
  rooms: TurnRooms,
  { principal }: Exchange,
  {
    conversation,
    previous_response_id: previous,
  }: Partial<Pick<z.infer<typeof countSchema>, 'conversation' | 'previous_response_id'>>,
): Promise<string> {
  if (principal.kind === 'user') return principal.assistant;
  if (previous != null) return (await readTurn(rooms, principal, turnOfPrevious(previous))).assistant;
  const id = typeof conversation === 'object' ? conversation?.id : conversation;
  const assistant = id === undefined ? undefined : (await readConversation(rooms, principal, id)).assistant;
  if (assistant != null) return assistant;
  throw new UsherError('invalid_request', 'Send "model": nothing that came before tells the assistant.', {
    param: 'model',
  });
}

async function compact(rooms: TurnRooms, exchange: Exchange): Promise<void> {
  const body = readBody(compactSchema, await exchange.json());
  // Field by field: what it does not know was not looked at.
  const { previous_response_id, user, safety_identifier, instructions } = body;
  const model = body.model ?? (await assistantBefore(rooms, exchange, body));
  const input = body.input ?? [];
  const asked = { model, previous_response_id, user, safety_identifier, instructions, input, store: false };
  const request = await readRequest(rooms, exchange, asked, readSettings(asked));
  const { id, createdAtMs, said, compaction, usage } = await compactInput(rooms, request, exchange.signal);
  exchange.sendJson(200, {
    id: responseIdOf(id),
    object: 'response.compaction',
    created_at: Math.floor(createdAtMs / 1000),
    output: [...said, compaction].map((item) => writeItem(item)),
    usage: writeUsage(usage),
  });
}

async function createInBackground(
  rooms: TurnRooms,
  exchange: Exchange,
  request: TurnRequest,
  streamed: boolean,
): Promise<void> {
  const id = await startInBackground(rooms, request);
  if (streamed) return streamStored(rooms, exchange, id, -1);
  exchange.sendJson(200, recordedResponse(exchange.principal, await readTurn(rooms, exchange.principal, id)));
}

/** The query of a retrieved response. */
const retrieveSchema = z.object({
  stream: z.enum(['true', 'false']).default('false').describe('Whether its events are told.'),
  starting_after: z.coerce
    .number()
    .int()
    .min(-1)
    .optional()
    .describe('With `stream`: the `sequence_number` of the last event that is known already.'),
  ...includedSchema.shape,
  include_obfuscation: z.string().optional().describe('Taken and left unread: nothing is padded.'),
});

async function retrieve(rooms: TurnRooms, exchange: Exchange): Promise<void> {
  const query = readQuery(retrieveSchema, exchange.query);
  const id = turnOfResponseId(exchange.params['response']!);
  const shown = readIncluded(exchange.query);
  if (query.stream === 'true') return streamStored(rooms, exchange, id, query.starting_after ?? -1, shown);
  if (query.starting_after !== undefined) {
    throw new UsherError('invalid_request', '"starting_after" needs "stream=true".', { param: 'starting_after' });
  }
  exchange.sendJson(200, recordedResponse(exchange.principal, await readTurn(rooms, exchange.principal, id), shown));
}

async function streamStored(
  rooms: TurnRooms,
  exchange: Exchange,
  id: RecordedTurn['id'],
  after: number,
  shown: Pick<ResponseSettings, 'showsFound'> = {},
): Promise<void> {
  const turn = await readTurn(rooms, exchange.principal, id);
  const writer = new ResponseEventWriter(recordedSettings(exchange.principal, turn, shown), after);
  const { principal, signal } = exchange;
  const telling: Telling = (relay) => followTurn(rooms, id, { principal, relay, signal, isResumed: after >= 0 });
  return answerStreamed(exchange, [{ writer, telling }]);
}

async function cancel(rooms: TurnRooms, exchange: Exchange): Promise<void> {
  const id = turnOfResponseId(exchange.params['response']!);
  await cancelTurn(rooms, exchange.principal, id);
  exchange.sendJson(200, recordedResponse(exchange.principal, await readTurn(rooms, exchange.principal, id)));
}

async function remove(rooms: TurnRooms, exchange: Exchange): Promise<void> {
  const id = exchange.params['response']!;
  await deleteTurn(rooms, exchange.principal, turnOfResponseId(id));
  exchange.sendJson(200, { id, object: 'response.deleted', deleted: true });
}

async function inputItems(rooms: TurnRooms, exchange: Exchange): Promise<void> {
  const page = readPage(exchange.query);
  const items = await readTurnInput(rooms, exchange.principal, turnOfResponseId(exchange.params['response']!));
  const { shown, hasMore } = pageOf(page.order === 'oldest-first' ? items : items.toReversed(), page);
  exchange.sendJson(200, itemList(shown, hasMore, readIncluded(exchange.query)));
}
