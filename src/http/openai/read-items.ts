import { z } from 'zod';
import { newId } from '#base';
import { searchSource, searchTool, writeFound, type ContentPart, type Item, type ResultItem } from '#conversation';
import type { SaidItem } from '#turn';
import { fileShape, readImage, type FileParts, type PartPlace } from './read-file.ts';

/** Roles as the wire writes them. */
const roleSchema = z.enum(['user', 'assistant', 'system', 'developer']);

/** Images travel to the backend as they are: a data URL, or an address that the backend fetches. */
export const imageUrlSchema = z
  .string()
  .regex(/^(https?:\/\/|data:image\/)/, 'must be an http(s) address, or a data URL of an image')
  .describe('An address that the model’s server fetches, or a data URL.');

export const detailSchema = z.enum(['auto', 'low', 'high', 'original']).describe('How closely the model looks.');

/** As long as a model's server may make it: what was answered can be sent back. */
export const callIdSchema = z.string().min(1).max(16_384).describe('Ties a result to its call.');
export const calledNameSchema = z.string().min(1).max(128).describe('The function’s name.');
export const argumentsSchema = z.string().describe('JSON text, as the model wrote it.');

const sentParts = [
  z.object({ type: z.literal('input_text'), text: z.string().describe('What a person or an application says.') }),
  z.object({
    type: z.literal('input_file'),
    ...fileShape,
    file_url: z.string().nullish().describe('Not served: send the file itself.'),
  }),
  z.object({
    type: z.literal('input_image'),
    image_url: imageUrlSchema.nullish(),
    file_id: fileShape.file_id,
    detail: detailSchema.nullish(),
  }),
] as const;
const returnedSchema = z.discriminatedUnion('type', sentParts);

const partSchema = z
  .discriminatedUnion('type', [
    ...sentParts,
    z.object({ type: z.literal('output_text'), text: z.string().describe('What the assistant said.') }),
    z.object({ type: z.literal('refusal'), refusal: z.string().describe('Why the assistant would not answer.') }),
  ])
  .meta({ id: 'content-part', description: 'A piece of a message as the Responses API writes it.' });

/** Of an answer that was cut short: what a model reads of it depends on it. */
const statusSchema = z
  .enum(['in_progress', 'completed', 'incomplete'])
  .nullish()
  .describe('As it was answered. Absent: `completed`.');

const messageSchema = z.object({
  /** OpenAI's own clients leave it out. */
  type: z.literal('message').optional(),
  status: statusSchema,
  role: roleSchema.describe('Who says it; `system` and `developer` instruct the assistant. Persons are `user` only.'),
  content: z.union([z.string(), z.array(partSchema)]).describe('What is said.'),
});

const callSchema = z.object({
  type: z.literal('function_call'),
  call_id: callIdSchema,
  name: calledNameSchema,
  arguments: argumentsSchema,
  status: statusSchema,
});

const toolSchema = z.object({
  type: z.literal('mcp_call'),
  server_label: z.string().min(1).max(128).describe('Where the tool comes from.'),
  name: calledNameSchema,
  arguments: argumentsSchema,
  output: z.string().nullish().describe('What the tool returned.'),
  error: z
    .union([
      z.string(),
      z.looseObject({
        content: z.array(z.looseObject({ text: z.string().optional() })).optional(),
        message: z.string().optional(),
      }),
    ])
    .nullish()
    .describe('Why it failed, where it did.'),
  approval_request_id: z
    .string()
    .nullish()
    .describe(
      'The request that was approved before: where it and its approval are sent too, the call stands for both.',
    ),
});

const foundSchema = z.looseObject({
  file_id: z.string().optional().describe('The document.'),
  filename: z.string().optional().describe('Its title.'),
  text: z.string().optional().describe('The passage.'),
  score: z.number().optional().describe('Of the best 1.'),
});

const searchSchema = z.object({
  type: z.literal('file_search_call'),
  queries: z.array(z.string()).describe('What was looked for.'),
  results: z.array(foundSchema).nullish().describe('What was found; null: it is not sent along.'),
  status: z
    .enum(['in_progress', 'searching', 'completed', 'incomplete', 'failed'])
    .nullish()
    .describe('As it was answered. Absent: `completed`.'),
});

const approvalRequestSchema = z.object({
  type: z.literal('mcp_approval_request'),
  id: z.string().nullish().describe('What a call that came of it names it by.'),
  server_label: z.string().min(1).max(128).describe('Where the tool comes from.'),
  name: calledNameSchema,
  arguments: argumentsSchema,
});

const resultSchema = z.object({
  type: z.literal('function_call_output'),
  call_id: callIdSchema,
  output: z
    .union([z.string(), z.array(returnedSchema)])
    .describe('What the function returned. The text of files is read; the model sees images after it.'),
});

const customCallSchema = z.object({
  type: z.literal('custom_tool_call'),
  call_id: callIdSchema,
  name: calledNameSchema,
  input: z.string().describe('What the tool is given, as the model wrote it.'),
  status: statusSchema,
});

const customResultSchema = resultSchema.extend({ type: z.literal('custom_tool_call_output') });

const compactionSchema = z.object({
  type: z.literal('compaction'),
  encrypted_content: z
    .string()
    .min(1)
    .max(20_971_520)
    .describe('What an earlier answer gave, unchanged. It opens for the person that it was made for alone.'),
});

const approvalSchema = z.object({
  type: z.literal('mcp_approval_response'),
  approval_request_id: z.string().min(1).max(128).describe('The request that is answered.'),
  approve: z.boolean().describe('Whether the tool may run.'),
  reason: z.string().max(2000).nullish().describe('Why, for the model to read.'),
});

const reasoningTextSchema = z.object({
  type: z.enum(['reasoning_text', 'summary_text']),
  text: z.string(),
});

const reasoningSchema = z.object({
  type: z.literal('reasoning'),
  summary: z.array(reasoningTextSchema).nullish().describe('What the model thought, in short.'),
  content: z.array(reasoningTextSchema).nullish().describe('What the model thought.'),
  encrypted_content: z
    .string()
    .min(1)
    .max(20_971_520)
    .nullish()
    .describe('The same as an earlier answer gave it, unchanged. It opens for the person that it was made for alone.'),
  status: statusSchema,
});

const referenceSchema = z.object({
  type: z.literal('item_reference'),
  id: z
    .string()
    .describe('The id of a stored item of the same person, which is said again in this place. `type` may be left out.'),
});

const itemSchema = z
  .discriminatedUnion('type', [
    messageSchema,
    callSchema,
    resultSchema,
    customCallSchema,
    customResultSchema,
    toolSchema,
    searchSchema,
    approvalRequestSchema,
    approvalSchema,
    reasoningSchema,
    compactionSchema,
    referenceSchema,
  ])
  .meta({
    id: 'item',
    description:
      'A message, a call of a function or a custom tool, its result, a call of the assistant’s own tool, a search of its knowledge, a request for approval (as it was asked: one that was sent cannot be approved), what a person said to a request for approval, what a model thought, a compaction (a summary of all that was said before it), or a reference to a stored item. What was answered may be sent back as it is. Ids are made here: one sent is ignored.',
  });

/** A reference may leave its type out, or have none; a message leaves it out. */
function typed(item: unknown): unknown {
  if (typeof item !== 'object' || item === null || ('type' in item && item.type != null)) return item;
  const { type: _none, ...rest } = item as { type?: unknown };
  return 'id' in rest && !('role' in rest) ? { ...rest, type: 'item_reference' } : rest;
}

export const itemsSchema = z.array(z.preprocess(typed, itemSchema));

/** `input` of a response: one text of the user, or items. */
export const inputSchema = z.union([z.string(), itemsSchema]);

/** Ids are always our own: a caller's could collide with another's. `at` is where they stand in the body. */
export async function readItems(
  input: z.infer<typeof inputSchema>,
  files: FileParts,
  at: 'input' | 'items',
): Promise<SaidItem[]> {
  if (typeof input !== 'string') {
    const kept = unsettled(input);
    return Promise.all(input.flatMap((item, nth) => (kept.has(item) ? [readItem(item, files, `${at}[${nth}]`)] : [])));
  }
  return [
    {
      kind: 'message',
      id: newId('message'),
      role: 'user',
      content: [{ type: 'text', text: input }],
      status: 'completed',
    },
  ];
}

/** Those that count: not the requests for approval, nor the approvals, of calls that are sent too. */
function unsettled(items: z.infer<typeof itemsSchema>): ReadonlySet<z.infer<typeof itemSchema>> {
  const settled = new Set(items.map((item) => (item.type === 'mcp_call' ? item.approval_request_id : undefined)));
  const kept = items.filter((item) => {
    if (item.type === 'mcp_approval_request') return item.id == null || !settled.has(item.id);
    return item.type !== 'mcp_approval_response' || !settled.has(item.approval_request_id);
  });
  return new Set(kept);
}

async function readItem(item: z.infer<typeof itemSchema>, files: FileParts, at: string): Promise<SaidItem> {
  switch (item.type) {
    case undefined:
    case 'message': {
      const { role, content } = item;
      const parts =
        typeof content === 'string'
          ? [{ type: 'text' as const, text: content }]
          : await Promise.all(content.map((part, nth) => readPart(part, files, { role, at: `${at}.content[${nth}]` })));
      return { kind: 'message', id: newId('message'), role, content: parts, status: readStatus(item) };
    }
    case 'function_call':
      return {
        kind: 'call',
        id: newId('call'),
        callId: item.call_id,
        name: item.name,
        arguments: item.arguments,
        status: readStatus(item),
      };
    case 'mcp_approval_response': {
      const { approval_request_id: request, approve, reason } = item;
      return { kind: 'approval', id: newId('approval'), request, approve, reason: reason ?? null, status: 'completed' };
    }
    case 'mcp_call':
      return readTool(item);
    case 'file_search_call':
      return readSearch(item);
    case 'mcp_approval_request': {
      const { server_label: source, name, arguments: text } = item;
      const id = newId('approvalRequest');
      const callId = id.replace('mcpr_', 'call_');
      return {
        kind: 'approval-request',
        id,
        callId,
        source,
        name,
        arguments: text,
        sentBack: true,
        status: 'completed',
      };
    }
    case 'reasoning':
      return readReasoning(item);
    case 'item_reference':
      return { kind: 'reference', id: item.id };
    case 'custom_tool_call': {
      const { call_id: callId, name, input } = item;
      const status = readStatus(item);
      return { kind: 'call', id: newId('call'), callId, name, arguments: input, custom: true, status };
    }
    case 'function_call_output':
    case 'custom_tool_call_output': {
      const returned =
        typeof item.output === 'string' ? { output: item.output } : await readReturned(item.output, files, at);
      const custom = item.type === 'custom_tool_call_output' ? { custom: true as const } : {};
      return { kind: 'result', id: newId('result'), callId: item.call_id, ...returned, ...custom, status: 'completed' };
    }
    case 'compaction':
      return {
        kind: 'compaction',
        id: newId('compaction'),
        sealed: item.encrypted_content,
        covers: null,
        status: 'completed',
      };
  }
}

async function readReturned(
  output: readonly z.infer<typeof returnedSchema>[],
  files: FileParts,
  at: string,
): Promise<Pick<ResultItem, 'output' | 'images'>> {
  // Read as if the user had sent it: it comes from outside, too.
  const role = 'user';
  const parts = await Promise.all(
    output.map((part, nth) => readPart(part, files, { role, at: `${at}.output[${nth}]` })),
  );
  const images = parts.filter((part) => part.type === 'image');
  const text = parts.map((part) => (part.type === 'image' ? '' : part.text)).join('');
  return { output: text, ...(images.length === 0 ? {} : { images }) };
}

function readStatus({ status }: { readonly status?: string | null | undefined }): Item['status'] {
  return status == null || status === 'completed' ? 'completed' : 'incomplete';
}

function readReasoning(item: z.infer<typeof reasoningSchema>): Item {
  const texts = item.content == null || item.content.length === 0 ? (item.summary ?? []) : item.content;
  return {
    kind: 'reasoning',
    id: newId('reasoning'),
    text: texts.map(({ text }) => text).join('\n\n'),
    ...(item.encrypted_content == null ? {} : { sealed: item.encrypted_content }),
    status: readStatus(item),
  };
}

/** It had a call's id of its own, which the wire does not tell. */
function readTool(item: z.infer<typeof toolSchema>): Item {
  const { error } = item;
  const told =
    typeof error === 'object' ? (error?.content?.map(({ text }) => text ?? '').join('') ?? error?.message) : error;
  const id = newId('tool');
  return {
    kind: 'tool',
    id,
    callId: id.replace('mcp_', 'call_'),
    source: item.server_label,
    name: item.name,
    arguments: item.arguments,
    output: item.output ?? null,
    error: error == null ? null : (told ?? 'It failed.'),
    status: 'completed',
  };
}

/** Several queries were one call, and are told as one. */
function readSearch({ queries, results, status }: z.infer<typeof searchSchema>): Item {
  const id = newId('search');
  const isFailed = status === 'failed';
  const found = results?.map(({ file_id: source = '', filename: title = '', text = '', score = 0 }, at) => ({
    number: at + 1,
    source,
    title,
    text,
    score,
  }));
  return {
    kind: 'tool',
    id,
    callId: id.replace('fs_', 'call_'),
    source: searchSource,
    name: searchTool,
    arguments: JSON.stringify({ query: queries.join('\n') }),
    output: isFailed ? null : found === undefined ? 'What it found was not sent along.' : writeFound(found),
    error: isFailed ? 'It failed.' : null,
    status: isFailed ? 'completed' : readStatus({ status }),
  };
}

async function readPart(part: z.infer<typeof partSchema>, files: FileParts, place: PartPlace): Promise<ContentPart> {
  switch (part.type) {
    case 'input_text':
    case 'output_text':
      return { type: 'text', text: part.text };
    case 'refusal':
      return { type: 'refusal', text: part.refusal };
    case 'input_file':
      return files.read(part, place);
    case 'input_image':
      return readImage({ url: part.image_url, file_id: part.file_id, detail: part.detail }, place);
  }
}
