import { z } from 'zod';
import { answerHandover, listHandovers, readHandover, returnHandover, takeConversation, type TurnRooms } from '#turn';
import type { Exchange, Policy, Route } from '../exchange.ts';
import { keyOf } from '../key-of.ts';
import { readBody, readQuery } from '../openai/read-body.ts';
import { responseIdOf, turnOfResponseId } from '../openai/wire-ids.ts';
import { writeItem } from '../openai/write-items.ts';

const operatePolicy: Policy = { access: 'principal', kinds: ['key'], scope: 'operate' };

const answerSchema = z.object({
  text: z.string().trim().min(1).max(100_000).describe('What the person reads.'),
  name: z
    .string()
    .trim()
    .min(1)
    .max(80)
    .refine((text) => text.isWellFormed() && !/\p{Cc}/u.test(text), 'must be text without control characters')
    .default('A colleague')
    .describe('Who answers, as the person reads it.'),
  response: z
    .string()
    .optional()
    .describe(
      'The response that is answered, as `waiting` names it. It takes one answer: sent again, or too late, it is refused with 409 and goes nowhere else.',
    ),
});
const takeSchema = z.object({ conversation: z.string().describe('The conversation to take over.') });
/** A page of what operators list. */
export const pageSchema = z.object({
  limit: z.coerce.number().int().min(1).max(100).default(20).describe('At most so many.'),
  after: z.string().min(1).optional().describe('The id of the last one on the page before.'),
});

const view =
  '`{"id","assistant","conversation","person","state","openedBy","openedAtMs","endedAtMs","waiting"}`; `waiting` is the response that waits for an answer, or null.';

/** How people answer in an assistant's place. */
export function handoverRoutes(rooms: TurnRooms): Route[] {
  const one = '/admin/handovers/:handover';
  return [
    {
      method: 'GET',
      path: '/admin/handovers',
      policy: operatePolicy,
      summary: 'Conversations that were handed over to a person, oldest first. Looking is recorded.',
      query: pageSchema,
      answer: `\`{"handovers":[…],"hasMore":…}\`, each ${view}`,
      handle: async (exchange) => {
        const { limit, after } = readQuery(pageSchema, exchange.query);
        const page = { limit, ...(after === undefined ? {} : { after }) };
        const { handovers, hasMore } = await listHandovers(rooms, keyOf(exchange), page);
        exchange.sendJson(200, { handovers: handovers.map(viewOf), hasMore });
      },
    },
    {
      method: 'POST',
      path: '/admin/handovers',
      policy: operatePolicy,
      summary: 'Takes a conversation over unasked: a person answers from its next message on.',
      body: takeSchema,
      answer: `The handover: ${view}`,
      handle: async (exchange) => {
        const { conversation } = readBody(takeSchema, await exchange.json());
        exchange.sendJson(200, viewOf(await takeConversation(rooms, keyOf(exchange), conversation)));
      },
    },
    {
      method: 'GET',
      path: one,
      policy: operatePolicy,
      summary: 'One handover with the last hundred items of what was said. Reading it is recorded.',
      answer: 'The handover, with `items` as `GET /v1/conversations/:conversation/items` writes them, oldest first.',
      handle: async (exchange) => {
        const { handover, items } = await readHandover(rooms, keyOf(exchange), idOf(exchange));
        exchange.sendJson(200, { ...viewOf(handover), items: items.map((item) => writeItem(item)) });
      },
    },
    {
      method: 'POST',
      path: `${one}/answers`,
      policy: operatePolicy,
      summary: 'Answers in the assistant’s place.',
      body: answerSchema,
      answer:
        '`{"to":"response","response":…}` where a response waited: it ends with this answer. Else `{"to":"conversation","item":…}`: it was added to the conversation.',
      handle: async (exchange) => {
        const { response, ...reply } = readBody(answerSchema, await exchange.json());
        const waiting = response === undefined ? undefined : turnOfResponseId(response, 'response');
        const delivery = await answerHandover(rooms, keyOf(exchange), { id: idOf(exchange), waiting }, reply);
        exchange.sendJson(
          200,
          delivery.to === 'response' ? { ...delivery, response: responseIdOf(delivery.response) } : delivery,
        );
      },
    },
    {
      method: 'POST',
      path: `${one}/return`,
      policy: operatePolicy,
      summary: 'Hands the conversation back: the assistant answers again, also what waits now.',
      answer: '`{"id":…,"state":"returned"}`.',
      handle: async (exchange) => {
        const id = idOf(exchange);
        await returnHandover(rooms, keyOf(exchange), id);
        exchange.sendJson(200, { id, state: 'returned' });
      },
    },
  ];
}

function viewOf(handover: Awaited<ReturnType<typeof takeConversation>>): object {
  const { subject, waiting, latest: _latest, ...rest } = handover;
  return { ...rest, person: subject, waiting: waiting === null ? null : responseIdOf(waiting) };
}

function idOf({ params }: Exchange): string {
  return params['handover'] ?? '';
}
