import OpenAI from 'openai';
import { setTimeout as delay } from 'node:timers/promises';
import { announced, type Fleet } from './fleet.ts';
import { replyAsPerson } from './operator.ts';

type Response = OpenAI.Responses.Response;

export const turnKinds = [
  'streamed',
  'background',
  'background-streamed',
  'tool',
  'idempotent-tool',
  'handed-over',
  'compacted',
  'approved',
] as const;
export type TurnKind = (typeof turnKinds)[number];

export interface Asked {
  readonly model: string;
  readonly input: string | OpenAI.Responses.ResponseInput;
  readonly background: boolean;
  readonly conversation?: string;
  readonly previous_response_id?: string;
}

/** One turn as it is to be: what is asked, and what has to come of it. */
export interface Script {
  readonly kind: TurnKind;
  readonly body: Asked;
  /** The text of each message of the answer, in order. */
  readonly says: readonly string[];
  /** The types of the answer's items, in order. */
  readonly types: readonly string[];
  /** What a person does meanwhile, once the fault has struck. */
  readonly person?: (struck: Promise<unknown>) => Promise<void>;
}

const words = 'Row seven has the best view of the stage and the shortest way to the bar in the interval';
const filler = (name: string): string => `${name}: ${'the guest would like a seat near the aisle. '.repeat(12)}`;

/** What has to be there before the turn that is struck: nothing, a long conversation, or a request for approval. */
export async function prepare(fleet: Fleet, kind: TurnKind, id: number): Promise<Script> {
  const said = `Answer ${id}: ${words}.`;
  const say = `[[sim:pace 40]] [[sim:say ${said}]]`;
  const seat = `{"seat":${id}}`;
  const plain = { kind, says: [said], types: ['message'] };
  const called = { kind, says: [said], types: ['mcp_call', 'message'] };
  const asked = { model: 'guest', input: say, background: kind.startsWith('background') };
  switch (kind) {
    case 'streamed':
    case 'background':
    case 'background-streamed':
      return { ...plain, body: asked };
    case 'tool':
      return { ...called, body: { ...asked, input: `[[sim:call book ${seat}]] ${say}` } };
    case 'idempotent-tool':
      return { ...called, body: { ...asked, input: `[[sim:call reserve ${seat}]] ${say}` } };
    case 'handed-over': {
      const conversation = await patiently(fleet, async (client) => (await client.conversations.create()).id);
      const reply = `Reply ${id}: you get your money back.`;
      return {
        kind,
        body: { ...asked, model: 'desk', conversation, input: '[[sim:call hand_over {"reason":"A refund."}]]' },
        says: [announced, reply],
        types: ['mcp_call', 'message', 'message'],
        person: (struck) => replyAsPerson(fleet, { conversation, reply, struck }),
      };
    }
    case 'compacted': {
      const items = Array.from({ length: 10 }, (_, nth) => ({
        type: 'message' as const,
        role: nth % 2 === 0 ? ('user' as const) : ('assistant' as const),
        content: filler(`Part ${nth}`),
      }));
      const conversation = await patiently(fleet, async (client) => (await client.conversations.create({ items })).id);
      const body = { ...asked, model: 'keeper', conversation };
      return { kind, body, says: [said], types: ['compaction', 'message'] };
    }
    case 'approved': {
      const first = { ...asked, input: `[[sim:call pay ${seat}]] ${say}` };
      const { id: previous, output } = await patiently(fleet, (client) => client.responses.create(first));
      const request = output.at(-1);
      if (request?.type !== 'mcp_approval_request') throw new Error(`asked for no approval, but ${request?.type}`);
      const input = [{ type: 'mcp_approval_response' as const, approval_request_id: request.id, approve: true }];
      return { ...called, body: { ...asked, previous_response_id: previous, input } };
    }
  }
}

/** What differs from the script, in words. */
export async function differences(fleet: Fleet, script: Script, stored: Response): Promise<readonly string[]> {
  if (stored.status !== 'completed') return [`ended as ${stored.status}: ${JSON.stringify(stored.error)}`];
  const problems: string[] = [];
  const types = stored.output.map(({ type }) => type);
  if (types.join() !== script.types.join()) problems.push(`has items ${types.join()}`);
  const says = messagesOf(stored.output);
  if (JSON.stringify(says) !== JSON.stringify(script.says)) problems.push(`says ${JSON.stringify(says)}`);
  const { conversation } = script.body;
  if (conversation === undefined) return problems;
  // What a later turn reads: of these, none is to be there twice.
  const { data } = await patiently(fleet, (client) =>
    client.conversations.items.list(conversation, { limit: 100, order: 'asc' }),
  );
  const compactions = data.filter(({ type }) => type === 'compaction').length;
  const wanted = script.types.filter((type) => type === 'compaction').length;
  if (compactions !== wanted) problems.push(`its conversation holds ${compactions} compactions`);
  const kept = messagesOf(data);
  for (const text of script.says) {
    const times = kept.filter((one) => one === text).length;
    if (times !== 1) problems.push(`its conversation says ${times} times ${JSON.stringify(text)}`);
  }
  return problems;
}

function messagesOf(items: readonly { readonly type: string }[]): readonly string[] {
  return items.flatMap((item) => {
    if (item.type !== 'message') return [];
    const { content } = item as unknown as { readonly content: readonly { readonly text?: string }[] };
    return [content.map(({ text }) => text ?? '').join('')];
  });
}

/** Before a fault and after it, a client that tries every door until one answers. */
async function patiently<T>(fleet: Fleet, ask: (client: OpenAI) => Promise<T>): Promise<T> {
  for (let attempt = 0; ; attempt += 1) {
    const door = fleet.doors[attempt % fleet.doors.length]!;
    const headers = attempt === 0 ? {} : { 'X-Stainless-Retry-Count': String(attempt) };
    const client = new OpenAI({
      baseURL: `${door.url}/v1`,
      apiKey: fleet.apiKey,
      maxRetries: 0,
      timeout: 20_000,
      defaultHeaders: headers,
    });
    try {
      return await ask(client);
    } catch (error) {
      if (attempt > 60) throw error;
      await delay(300);
    }
  }
}
