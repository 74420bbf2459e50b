import { z } from 'zod';
import { newId, parseId, UsherError, type Id } from '#base';
import type { ApprovalItem, ContentPart, Item, ItemId } from '#conversation';
import {
  cancelTurn,
  findReplaced,
  followTurn,
  readApprovals,
  readConversation,
  readTurn,
  readTurnInput,
  runningTurnOf,
  runTurn,
  type TurnRequest,
  type TurnRooms,
} from '#turn';
import type { Exchange, Route } from '../exchange.ts';
import { answerStreamed, type Telling } from '../openai/answer-exchange.ts';
import { modelSchema, readBody, subjectSchema } from '../openai/read-body.ts';
import { FileParts, type PartPlace } from '../openai/read-file.ts';
import { readCaller } from '../openai/read-caller.ts';
import { plainSettings, type ResponseSettings } from '../openai/response-body.ts';
import { talkPolicy } from '../openai/talk-policy.ts';
import { UiWriter, type ContinuedMessage } from './ui-writer.ts';

const partSchema = z.looseObject({
  type: z
    .string()
    .describe(
      '`text`, or `file`: an image, or of the user anything whose text can be read. Parts of other types are left out.',
    ),
  text: z.string().optional().describe('Of a text.'),
  mediaType: z.string().optional().describe('Of a file.'),
  url: z.string().optional().describe('Of a file: a data URL.'),
  filename: z.string().max(255).optional().describe('Of a file: what it is called.'),
  state: z.string().optional().describe('Of a tool: `approval-responded` where `approval` is the person’s answer.'),
  approval: z
    .looseObject({
      id: z.string().max(128).describe('The request for approval.'),
      approved: z.boolean().optional().describe('Whether the tool may run.'),
      reason: z.string().max(2000).nullish().describe('Why, for the model to read.'),
    })
    .nullish(),
});

const messageSchema = z.looseObject({
  id: z
    .string()

    .max(512)
    .optional()
    .describe('What the chat calls it: under this name it is replaced, and an answer to its approvals goes on in it.'),
  role: z.enum(['user', 'assistant', 'system']).describe('Who says it.'),
  parts: z.array(partSchema).describe('What is said.'),
});

/** What the AI SDK's `DefaultChatTransport` sends, with `model` from its `body`. */
export const uiChatSchema = z.looseObject({
  id: z
    .string()
    .min(1)
    .describe(
      'The chat. The id of a conversation (`conv_…`): it is the history, the newest message is said in it, and its answer can be heard again. Any other: the messages are the history, and nothing of it is kept.',
    ),
  model: modelSchema,
  messages: z.array(messageSchema).min(1).describe('The chat so far, oldest first.'),
  trigger: z
    .string()
    .optional()
    .describe('`regenerate-message`: the newest message is answered anew, in place of what was said from it on.'),
  messageId: z
    .string()
    .nullish()
    .describe('The newest message, where it was edited: it is said in place of what was said from it on.'),
  safety_identifier: subjectSchema.nullish(),
});
type UiChat = z.infer<typeof uiChatSchema>;
type UiPart = UiChat['messages'][number]['parts'][number];

/** The stream protocol of the AI SDK's UI hooks. */
export function uiRoutes(rooms: TurnRooms): Route[] {
  return [
    {
      method: 'POST',
      path: '/v1/ui/chat',
      policy: talkPolicy,
      summary: 'Runs one turn for the AI SDK’s `useChat`.',
      body: uiChatSchema,
      answer:
        'The UI message stream of the AI SDK; a message is named as the response that began it. Its `metadata.response` names the one under way, which can be cancelled by that name.',
      handle: (exchange) => chat(rooms, exchange),
    },
    {
      method: 'GET',
      path: '/v1/ui/chat/:conversation/stream',
      policy: talkPolicy,
      summary: 'The answer that is under way in a conversation, from its beginning, for `resume` of `useChat`.',
      answer: 'The UI message stream; status 204 where nothing is under way.',
      handle: (exchange) => resume(rooms, exchange),
    },
  ];
}

async function chat(rooms: TurnRooms, exchange: Exchange): Promise<void> {
  const body = readBody(uiChatSchema, await exchange.json());
  const newest = body.messages.at(-1)!;
  const conversation = parseId('conversation', body.id);
  const files = new FileParts(rooms, exchange);
  if (conversation === undefined) {
    return say(
      rooms,
      exchange,
      body,
      await Promise.all(body.messages.map((message, nth) => readMessage(message, files, nth))),
    );
  }
  if (newest.role === 'user') {
    return say(
      rooms,
      exchange,
      body,
      [await readMessage(newest, files, body.messages.length - 1)],
      await replacedBy(rooms, exchange, body, conversation),
    );
  }
  const approvals = newest.role === 'assistant' ? newest.parts.flatMap(readApproval) : [];
  if (approvals.length > 0) return answerApprovals(rooms, exchange, body, approvals);
  const mend = 'The newest message must be of the user, or of the assistant with an approval that was answered.';
  throw new UsherError('invalid_request', mend, { param: 'messages' });
}

/** What the newest message stands in place of, where it is to be answered anew or was edited; an answer under way there is stopped. */
async function replacedBy(
  rooms: TurnRooms,
  { principal }: Exchange,
  { id, messages, trigger, messageId }: UiChat,
  conversation: Id<'conversation'>,
): Promise<ItemId | undefined> {
  const named = messages.at(-1)!.id;
  const isAgain = trigger === 'regenerate-message' || messageId === named;
  if (!isAgain || named === undefined) return undefined;
  const before = new Set(messages.slice(0, -1).flatMap((message) => message.id ?? []));
  const replaced = await findReplaced(rooms, principal, id, { named, before });
  const running = replaced === undefined ? undefined : await runningTurnOf(rooms, principal, conversation);
  if (running !== undefined) await cancelTurn(rooms, principal, running);
  return replaced;
}

function say(
  rooms: TurnRooms,
  exchange: Exchange,
  body: UiChat,
  input: readonly Item[],
  replaces?: ItemId,
): Promise<void> {
  const request = { ...readRequest(exchange, body, input), replaces };
  return tell(exchange, (relay) => runTurn(rooms, request, relay, exchange.signal));
}

/**
 * The answer goes on in the message that asked. A chat sends the whole message: what was answered
 * before is not answered again, and where that is all, what came of it is told again.
 */
async function answerApprovals(
  rooms: TurnRooms,
  exchange: Exchange,
  body: UiChat,
  approvals: readonly ApprovalItem[],
): Promise<void> {
  const { principal, signal } = exchange;
  const { id } = body.messages.at(-1)!;
  const { fresh, takenBy, ...requests } = await readApprovals(rooms, principal, body.id, approvals);
  const continued = id === undefined ? undefined : { id, ...requests };
  if (fresh.length === 0 && takenBy !== undefined) {
    return tell(exchange, (relay) => followTurn(rooms, takenBy, { principal, relay, signal }), continued);
  }
  const request = readRequest(exchange, body, fresh, continued);
  return tell(exchange, (relay) => runTurn(rooms, request, relay, signal), continued);
}

function tell(exchange: Exchange, telling: Telling, continued?: ContinuedMessage): Promise<void> {
  exchange.setHeader('x-vercel-ai-ui-message-stream', 'v1');
  return answerStreamed(exchange, [{ writer: new UiWriter(continued), telling }]);
}

async function resume(rooms: TurnRooms, exchange: Exchange): Promise<void> {
  const { principal } = exchange;
  const id = exchange.params['conversation']!;
  const conversation = parseId('conversation', id);
  if (conversation === undefined) return exchange.send(204, 'text/plain', '');
  await readConversation(rooms, principal, id);
  const turn = await runningTurnOf(rooms, principal, conversation);
  if (turn === undefined) return exchange.send(204, 'text/plain', '');
  const continued = await continuedBy(rooms, exchange, id, turn);
  const { signal } = exchange;
  return tell(exchange, (relay) => followTurn(rooms, turn, { principal, relay, signal }), continued);
}

/** The message that a turn goes on with, as the chat named it when it asked. */
async function continuedBy(
  rooms: TurnRooms,
  { principal }: Exchange,
  conversation: string,
  turn: Id<'turn'>,
): Promise<ContinuedMessage | undefined> {
  const { settings } = await readTurn(rooms, principal, turn);
  const { uiMessage } = JSON.parse(settings) as ResponseSettings;
  if (uiMessage === undefined) return undefined;
  const approvals = (await readTurnInput(rooms, principal, turn)).filter((item) => item.kind === 'approval');
  const { refused, approved } = await readApprovals(rooms, principal, conversation, approvals);
  return { id: uiMessage, refused, approved };
}

function readRequest(
  exchange: Exchange,
  body: UiChat,
  input: readonly Item[],
  continued?: ContinuedMessage,
): TurnRequest {
  const conversation = parseId('conversation', body.id);
  const stored = conversation !== undefined;
  const uiMessage = continued === undefined ? {} : { uiMessage: continued.id };
  return {
    principal: exchange.principal,
    model: body.model,
    subject: body.safety_identifier ?? undefined,
    conversation,
    previous: undefined,
    stored,
    background: false,
    mayApprove: stored,
    completion: false,
    ...readCaller(exchange, body),
    toolCallsMax: undefined,
    whenFull: undefined,
    compaction: undefined,
    input,
    instructions: undefined,
    parameters: {},
    extra: {},
    tools: [],
    fileSearch: undefined,
    toolChoice: undefined,
    parallelCalls: undefined,
    format: undefined,
    sealsReasoning: false,
    settings: stored ? JSON.stringify({ ...plainSettings, conversation: body.id, ...uiMessage }) : '',
  };
}

/** What the person said to a call that they have to agree to, as the hooks keep it with the call. */
function readApproval({ state, approval }: UiPart): ApprovalItem[] {
  if (state !== 'approval-responded' || approval?.approved === undefined) return [];
  const { id: request, approved: approve, reason = null } = approval;
  return [{ kind: 'approval', id: newId('approval'), request, approve, reason, status: 'completed' }];
}

async function readMessage(
  { id: clientId, role, parts }: UiChat['messages'][number],
  files: FileParts,
  nth: number,
): Promise<Item> {
  const at = `messages[${nth}].parts`;
  const content = await Promise.all(
    parts.map((part, place) => readPart(part, files, { role, at: `${at}[${place}]`, field: 'url' })),
  );
  const named = clientId === undefined ? {} : { clientId };
  return { kind: 'message', id: newId('message'), role, content: content.flat(), status: 'completed', ...named };
}

async function readPart(part: UiPart, files: FileParts, place: PartPlace): Promise<ContentPart[]> {
  if (part.type === 'text') return [{ type: 'text', text: part.text ?? '' }];
  const { type, mediaType, url, filename } = part;
  if (type !== 'file' || url?.startsWith('data:') !== true) return [];
  if (mediaType?.startsWith('image/') === true) return url.startsWith('data:image/') ? [{ type: 'image', url }] : [];
  return place.role === 'user' ? [await files.read({ filename, file_data: url }, place)] : [];
}
