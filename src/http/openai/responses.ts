import { UsherError } from '#base';
import { deleteTurn, readTurn, readTurnInput, type TurnRooms } from '#turn';
import type { Exchange, Route } from '../exchange.ts';
import { answerStreamed, answerWhole } from './answer-exchange.ts';
import { pageSchema, readBody, readPage } from './read-body.ts';
import { readResponseRequest, readSettings, responseSchema } from './read-response-request.ts';
import { recordedResponse, reasonOf, responseBody } from './response-body.ts';
import { ResponseEventWriter } from './response-events.ts';
import { talkPolicy } from './talk-policy.ts';
import { turnOfResponseId } from './wire-ids.ts';
import { itemList } from './write-items.ts';

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
      method: 'GET',
      path: '/v1/responses/:response',
      policy: talkPolicy,
      summary: 'A stored response, also while it runs.',
      answer: 'The `response` object.',
      handle: (exchange) => retrieve(rooms, exchange),
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
      query: pageSchema,
      answer: 'A list of items; `has_more` says whether another page follows.',
      handle: (exchange) => inputItems(rooms, exchange),
    },
  ];
}

async function createResponse(rooms: TurnRooms, exchange: Exchange): Promise<void> {
  const body = readBody(responseSchema, await exchange.json());
  const settings = readSettings(body);
  const request = readResponseRequest(exchange, body, settings);
  if (body.stream === true) return answerStreamed(rooms, exchange, request, new ResponseEventWriter(settings));
  const { turn, items, outcome, usage, finishedAtMs } = await answerWhole(rooms, exchange, request);
  exchange.sendJson(
    200,
    responseBody({ ...turn, state: outcome.state, ...reasonOf(outcome), items, usage, finishedAtMs, settings }),
  );
}

async function retrieve(rooms: TurnRooms, exchange: Exchange): Promise<void> {
  if (exchange.query.get('stream') === 'true') {
    throw new UsherError('invalid_request', 'A stored response cannot be streamed again. Retrieve it without stream.', {
      param: 'stream',
    });
  }
  const turn = await readTurn(rooms, exchange.principal, turnOfResponseId(exchange.params['response']!));
  exchange.sendJson(200, recordedResponse(turn));
}

async function remove(rooms: TurnRooms, exchange: Exchange): Promise<void> {
  const id = exchange.params['response']!;
  await deleteTurn(rooms, exchange.principal, turnOfResponseId(id));
  exchange.sendJson(200, { id, object: 'response.deleted', deleted: true });
}

async function inputItems(rooms: TurnRooms, exchange: Exchange): Promise<void> {
  const { limit, order, after } = readPage(exchange.query);
  const items = await readTurnInput(rooms, exchange.principal, turnOfResponseId(exchange.params['response']!));
  const ordered = order === 'oldest-first' ? items : items.toReversed();
  const place = ordered.findIndex((item) => item.id === after);
  // After one that is not there comes nothing, as in the items of a conversation.
  const rest = after === undefined ? ordered : place === -1 ? [] : ordered.slice(place + 1);
  exchange.sendJson(200, itemList(rest.slice(0, limit), rest.length > limit));
}
