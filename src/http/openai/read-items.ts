import { z } from 'zod';
import { newId } from '#base';
import type { ContentPart, Item } from '#conversation';

/** Roles as the wire writes them. */
const roleSchema = z.enum(['user', 'assistant', 'system', 'developer']);

/** Images travel to the backend as they are: a data URL, or an address that the backend fetches. */
export const imageUrlSchema = z
  .string()
  .regex(/^(https?:\/\/|data:image\/)/, 'must be an http(s) address, or a data URL of an image')
  .describe('An address that the model’s server fetches, or a data URL.');

export const detailSchema = z.enum(['auto', 'low', 'high']).describe('How closely the model looks.');

export const callIdSchema = z.string().min(1).max(128).describe('Ties a result to its call.');
export const calledNameSchema = z.string().min(1).max(128).describe('The function’s name.');
export const argumentsSchema = z.string().describe('JSON text, as the model wrote it.');

const partSchema = z
  .discriminatedUnion('type', [
    z.object({ type: z.literal('input_text'), text: z.string().describe('What a person or an application says.') }),
    z.object({ type: z.literal('output_text'), text: z.string().describe('What the assistant said.') }),
    z.object({ type: z.literal('refusal'), refusal: z.string().describe('Why the assistant would not answer.') }),
    z.object({
      type: z.literal('input_image'),
      image_url: imageUrlSchema,
      detail: detailSchema.nullish(),
    }),
  ])
  .meta({ id: 'content-part', description: 'A piece of a message as the Responses API writes it.' });

const messageSchema = z.object({
  /** OpenAI's own clients leave it out. */
  type: z.literal('message').optional(),
  role: roleSchema.describe('Who says it; `system` and `developer` instruct the assistant. Persons are `user` only.'),
  content: z.union([z.string(), z.array(partSchema)]).describe('What is said.'),
});

const callSchema = z.object({
  type: z.literal('function_call'),
  call_id: callIdSchema,
  name: calledNameSchema,
  arguments: argumentsSchema,
});

const resultSchema = z.object({
  type: z.literal('function_call_output'),
  call_id: callIdSchema,
  output: z
    .union([z.string(), z.array(z.object({ type: z.literal('input_text'), text: z.string() }))])
    .describe('What the function returned.'),
});

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

const itemSchema = z
  .discriminatedUnion('type', [messageSchema, callSchema, resultSchema, approvalSchema, compactionSchema])
  .meta({
    id: 'item',
    description:
      'A message, a call of a function, its result, or a compaction: a summary of all that was said before it. Ids are made here: one sent is ignored.',
  });

export const itemsSchema = z.array(itemSchema);

/** `input` of a response: one text of the user, or items. */
export const inputSchema = z.union([z.string(), itemsSchema]);

/** Ids are always our own: a caller's could collide with another's. */
export function readItems(input: z.infer<typeof inputSchema>): Item[] {
  if (typeof input !== 'string') return input.map(readItem);
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

function readItem(item: z.infer<typeof itemSchema>): Item {
  switch (item.type) {
    case undefined:
    case 'message': {
      const { role, content } = item;
      const parts = typeof content === 'string' ? [{ type: 'text' as const, text: content }] : content.map(readPart);
      return { kind: 'message', id: newId('message'), role, content: parts, status: 'completed' };
    }
    case 'function_call':
      return {
        kind: 'call',
        id: newId('call'),
        callId: item.call_id,
        name: item.name,
        arguments: item.arguments,
        status: 'completed',
      };
    case 'mcp_approval_response': {
      const { approval_request_id: request, approve, reason } = item;
      return { kind: 'approval', id: newId('approval'), request, approve, reason: reason ?? null, status: 'completed' };
    }
    case 'function_call_output': {
      const output = typeof item.output === 'string' ? item.output : item.output.map((part) => part.text).join('');
      return { kind: 'result', id: newId('result'), callId: item.call_id, output, status: 'completed' };
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

function readPart(part: z.infer<typeof partSchema>): ContentPart {
  switch (part.type) {
    case 'input_text':
    case 'output_text':
      return { type: 'text', text: part.text };
    case 'refusal':
      return { type: 'refusal', text: part.refusal };
    case 'input_image':
      return { type: 'image', url: part.image_url, ...(part.detail == null ? {} : { detail: part.detail }) };
  }
}
