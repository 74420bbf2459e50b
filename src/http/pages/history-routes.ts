import { z } from 'zod';
import { parseId, UsherError, type Id } from '#base';
import { giveFeedback, listConversations, readTranscript, type TranscriptTurn, type TurnRooms } from '#turn';
import type { Exchange, Route } from '../exchange.ts';
import { pageSchema, readBody, readPage, readQuery } from '../openai/read-body.ts';
import type { ResponseSettings } from '../openai/response-body.ts';
import { responseIdOf, servedModel, turnOfResponseId } from '../openai/wire-ids.ts';
import { writeItem } from '../openai/write-items.ts';
import type { PageDirectory } from './page-directory.ts';

/** The body of `POST /chat/<assistant>/feedback`. */
const feedbackSchema = z.looseObject({
  response: z.string().describe('The id of the response that it is about.'),
  rating: z.enum(['up', 'down']).describe('The verdict; a later one takes its place.'),
  comment: z.string().max(2000).nullish().describe('Why, in the person’s own words.'),
});

/** The query of `GET /chat/<assistant>/conversations`. */
const listSchema = pageSchema.omit({ order: true });

interface HistoryParts {
  readonly rooms: TurnRooms;
  readonly directory: PageDirectory;
}

/** What a person sees again of what they said, and their verdicts on it: what the OpenAI wire has no word for. */
export function historyRoutes(parts: HistoryParts): Route[] {
  const policy = { access: 'principal', kinds: ['user'], scope: 'talk' } as const;
  const path = '/chat/:assistant/conversations';
  return [
    {
      method: 'GET',
      path,
      policy,
      summary: 'Lists the person’s own conversations with the assistant, newest activity first.',
      query: listSchema,
      answer: '`{"conversations":[{"id":…,"title":…,"updatedAtMs":…}],"hasMore":…}`.',
      handle: (exchange) => list(parts, exchange),
    },
    {
      method: 'GET',
      path: `${path}/:conversation`,
      policy,
      summary: 'One of them with what was said, what its turns came to, and the person’s verdicts.',
      query: pageSchema,
      answer: '`{"id":…,"title":…,"items":[…],"responses":[…],"hasMore":…}`.',
      handle: (exchange) => retrieve(parts, exchange),
    },
    {
      method: 'POST',
      path: '/chat/:assistant/feedback',
      policy,
      summary: 'Keeps a person’s verdict on an answer.',
      body: feedbackSchema,
      answer: '`{"response":…,"rating":…}`.',
      handle: (exchange) => rate(parts, exchange),
    },
  ];
}

async function list(parts: HistoryParts, exchange: Exchange): Promise<void> {
  const assistant = await assistantOf(parts, exchange);
  const { limit, after } = readQuery(listSchema, exchange.query);
  const cursor = after === undefined ? undefined : conversationId(after);
  const page = { limit: limit + 1, ...(cursor && { after: cursor }) };
  const found = await listConversations(parts.rooms, exchange.principal, assistant, page);
  exchange.sendJson(200, {
    conversations: found.slice(0, limit).map(({ id, title, updatedAtMs }) => ({ id, title, updatedAtMs })),
    hasMore: found.length > limit,
  });
}

async function retrieve(parts: HistoryParts, exchange: Exchange): Promise<void> {
  const assistant = await assistantOf(parts, exchange);
  const page = readPage(exchange.query);
  const transcript = await readTranscript(parts.rooms, exchange.principal, exchange.params['conversation']!, page);
  if (transcript.assistant !== null && transcript.assistant !== assistant) throw noConversation();
  exchange.sendJson(200, {
    id: transcript.id,
    title: transcript.title,
    items: transcript.items.map(({ item, turn }) => ({
      ...writeItem(item),
      response: turn === null ? null : responseIdOf(turn),
      operator: item.kind === 'message' ? (item.operator ?? null) : null,
    })),
    responses: transcript.turns.map(writeTurn),
    hasMore: transcript.hasMore,
  });
}

async function rate(parts: HistoryParts, exchange: Exchange): Promise<void> {
  const body = readBody(feedbackSchema, await exchange.json());
  await assistantOf(parts, exchange);
  const turn = turnOfResponseId(body.response, 'response');
  const comment = body.comment?.trim();
  await giveFeedback(parts.rooms, exchange.principal, turn, {
    rating: body.rating,
    comment: comment === '' ? undefined : comment,
  });
  exchange.sendJson(200, { response: body.response, rating: body.rating });
}

/** The assistant at this address, where the caller's token is for it. @throws UsherError `not_found` */
async function assistantOf({ directory }: HistoryParts, exchange: Exchange): Promise<string> {
  const { principal } = exchange;
  const { tenant, spec } = await directory.open(exchange.params['assistant']!);
  if (principal.kind !== 'user' || principal.tenant !== tenant || principal.assistant !== spec.name) {
    throw new UsherError('not_found', 'There is no assistant at this address.');
  }
  return spec.name;
}

function writeTurn(turn: TranscriptTurn): object {
  const { metadata } = JSON.parse(turn.settings) as ResponseSettings;
  return {
    id: responseIdOf(turn.id),
    status: turn.state === 'running' ? 'in_progress' : turn.state,
    reason: turn.reason,
    model: servedModel(turn.assistant, turn.release),
    replaces: metadata['replaces'] ?? null,
    feedback: turn.feedback,
  };
}

function conversationId(id: string): Id<'conversation'> {
  const known = parseId('conversation', id);
  if (known === undefined) throw noConversation();
  return known;
}

function noConversation(): UsherError {
  return new UsherError('not_found', 'There is no such conversation.');
}
