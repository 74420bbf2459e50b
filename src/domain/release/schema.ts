import { z } from 'zod';
import type { AssistantSpec } from './spec.ts';
import { toolsSchema, type ToolFile } from './tool-schema.ts';

/** `assistant.yaml` as the program works with it: the spec, the file that holds the instructions, and tools as declared. */
export interface AssistantFile {
  readonly spec: AssistantSpec;
  readonly instructionsFile: string;
  readonly tools: readonly ToolFile[];
}

/** Names go into addresses and model names (`guide@production`), so their letters are few. */
const namePattern = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;
const nameRule = 'must have lower-case letters, digits and inner hyphens, at most 63';

/** The pool that stands where `usher.yaml` declares none. */
const defaultPool = 'default';

const name = z.string().regex(namePattern, nameRule);

const poolEntry = z.union([
  name,
  z.strictObject({
    pool: name.describe('A pool of `usher.yaml`.'),
    model: z.string().min(1).max(200).optional().describe('The model to ask for there, in place of the backend’s own.'),
  }),
]);

const parameters = z.strictObject({
  temperature: z.number().min(0).max(2).optional().describe('How freely words are chosen: 0 is the most repeatable.'),
  topP: z
    .number()
    .gt(0)
    .max(1)
    .optional()
    .describe('Only the likeliest words that make up this share are chosen from.'),
  maxOutputTokens: z.int().min(1).max(1_000_000).optional().describe('Longest answer, in tokens.'),
  stop: z
    .union([z.string().min(1), z.array(z.string().min(1)).max(4)])
    .transform((stop) => (typeof stop === 'string' ? [stop] : stop))
    .optional()
    .describe('Up to four texts at which an answer ends.'),
  seed: z.int().optional().describe('Asks the model for the same answer to the same question; few models promise it.'),
  presencePenalty: z.number().min(-2).max(2).optional().describe('Above 0: prefer subjects not yet talked of.'),
  frequencyPenalty: z.number().min(-2).max(2).optional().describe('Above 0: repeat words less.'),
  reasoningEffort: z
    .enum(['none', 'minimal', 'low', 'medium', 'high', 'xhigh'])
    .optional()
    .describe('How long a reasoning model thinks before it answers.'),
});

/** Below so many tokens a summary and what is summarised have no place together. */
export const compactBudgetMin = 1000;

const context = z.strictObject({
  budgetTokens: z
    .int()
    .min(256)
    .max(2_000_000)
    .default(8000)
    .describe('Tokens of instructions, tools, knowledge and history together.'),
  whenFull: z
    .enum(['truncate', 'compact'])
    .default('truncate')
    .describe(
      'What becomes of a conversation that outgrows the budget. `truncate`: the oldest of it is left out; `compact`: a model of the assistant’s own pools summarises the older part, and the last exchanges stay word for word. It holds for conversations and chains of responses that are kept here.',
    ),
  compactAt: z
    .number()
    .min(0.3)
    .max(0.9)
    .default(0.7)
    .describe('The share of the budget beyond which a conversation is compacted, with `compact`.'),
});

const knowledge = z.strictObject({
  passages: z
    .int()
    .min(0)
    .max(50)
    .default(6)
    .describe(
      'Passages of `knowledge/` put before the model with each question or search, at the most; 0 switches that off.',
    ),
  search: z
    .enum(['prompt', 'tool'])
    .default('prompt')
    .describe(
      '`prompt`: passages go with each question; `tool`: the model is given a function `file_search` and looks itself, as often as it needs.',
    ),
  embeddings: z
    .string()
    .min(1)
    .max(63)
    .optional()
    .describe(
      'An entry of `embeddings:` in `usher.yaml`. Passages are then found by their meaning as well as by their words.',
    ),
});

const limits = z.strictObject({
  inputCharacters: z
    .int()
    .min(1)
    .max(2_000_000)
    .default(16_000)
    .describe('Longest message that a person may send, in characters.'),
  turnsPerMinutePerUser: z
    .int()
    .min(1)
    .max(10_000)
    .default(20)
    .describe('Questions that one person may ask within a minute.'),
});

const turns = z.strictObject({
  rescue: z
    .enum(['continue', 'restart', 'fail'])
    .default('continue')
    .describe(
      'What becomes of an answer that breaks off because its model server or its node is lost. `continue`: another goes on where it stopped, where the model server can, else as `restart`; `restart`: it is made anew; `fail`: it fails visibly.',
    ),
  whileBusy: z
    .enum(['refuse', 'queue'])
    .default('refuse')
    .describe(
      'What becomes of a message while its conversation has a running turn: `refuse` with `conversation_locked`, or `queue` it.',
    ),
  queueMax: z.int().min(1).max(100).default(5).describe('Messages of one conversation that may wait, with `queue`.'),
  queueMs: z
    .int()
    .min(100)
    .max(3_600_000)
    .default(60_000)
    .describe('How long a message may wait until it is refused, with `queue`.'),
  outliveClientMs: z
    .int()
    .min(0)
    .max(3_600_000)
    .default(30_000)
    .describe(
      'How long a stored turn goes on after its last listener left, so that they can come back to it; then it is stopped. Background turns run to their end.',
    ),
});

const handover = z.strictObject({
  tool: z
    .boolean()
    .default(true)
    .describe('Whether the model has the tool `hand_over`, to ask for a person where it cannot help.'),
  phrases: z
    .array(z.string().trim().min(2).max(200))
    .max(50)
    .default([])
    .describe('A message that holds one of these, in whatever case, goes to a person without asking the model.'),
  announce: z
    .string()
    .min(1)
    .max(500)
    .default('A person will answer you here.')
    .describe('What is said when a conversation is handed over and the assistant itself has said nothing.'),
  waitMs: z
    .int()
    .min(1000)
    .max(86_400_000)
    .default(600_000)
    .describe('How long a message waits for a person’s answer. Then the conversation is the assistant’s again.'),
  missed: z
    .string()
    .min(1)
    .max(500)
    .optional()
    .describe('What is said where nobody answered in time. Absent: the assistant answers itself.'),
});

const page = z.strictObject({
  access: z
    .enum(['public', 'token'])
    .default('token')
    .describe(
      '`public`: anyone who reaches the server may open `/chat/<name>`; `token`: only people whom your application gave a token.',
    ),
  origins: z
    .array(
      z
        .string()
        .regex(
          /^https?:\/\/[a-z0-9.-]+(?::\d{1,5})?$/i,
          'must be an origin such as https://www.example.com, without a path',
        )
        .transform((origin) => origin.toLowerCase()),
    )
    .max(100)
    .default([])
    .describe('Sites that may embed the chat.'),
  suggestions: z
    .array(z.string().min(1).max(120))
    .max(6)
    .default([])
    .describe('First questions that the chat page offers.'),
});

const shape = z.strictObject({
  name: name.describe('What everyone calls it, in addresses and as the `model` of the API. Never changes.'),
  title: z.string().min(1).max(80).optional().describe('What people read above the chat. Default: the name.'),
  description: z.string().max(500).default('').describe('One or two sentences on what it is for.'),
  model: z
    .string()
    .min(1)
    .max(200)
    .optional()
    .describe('Short for one entry in `pools`: the default pool with this model.'),
  pools: z
    .array(poolEntry)
    .min(1)
    .max(10)
    .optional()
    .describe(
      'Pools of `usher.yaml` in order of preference, each a name or `{pool, model}`. Default: the default pool.',
    ),
  parameters: parameters.prefault({}).describe('How the model is asked. What is absent is the model’s own default.'),
  instructions: z
    .string()
    .min(1)
    .default('instructions.md')
    .describe('The file, inside the folder, that tells the assistant who it is and how to answer.'),
  context: context.prefault({}).describe('What is put before the model.'),
  knowledge: knowledge.prefault({}).describe('How the documents in `knowledge/` are used.'),
  limits: limits.prefault({}).describe('What one person may ask of it.'),
  turns: turns.prefault({}).describe('What holds when a connection, a model server or a node is lost.'),
  handover: handover
    .optional()
    .describe('Lets a person take over a conversation, and hand it back. Absent: nobody does.'),
  disclosure: z
    .string()
    .min(1)
    .max(300)
    .default('You are talking with an AI assistant. It can make mistakes: check what matters.')
    .describe('The sentence that tells people they talk to an AI. It is always shown.'),
  page: page.prefault({}).describe('The chat page and the widget.'),
  tools: toolsSchema.describe('What the assistant may do besides talking. Usher makes the calls, not the application.'),
});

/** The schema of `assistant.yaml`: every default, and the one source of its JSON Schema and reference page. */
export const assistantSchema = shape
  .superRefine((file, issues) => {
    if (file.model !== undefined && file.pools !== undefined) {
      issues.addIssue({
        code: 'custom',
        path: ['model'],
        message: '"model" and "pools" stand together; write the model beside its pool: - {pool: default, model: …}',
      });
    }
  })
  .superRefine(({ context: { whenFull, budgetTokens } }, issues) => {
    if (whenFull === 'compact' && budgetTokens < compactBudgetMin) {
      issues.addIssue({
        code: 'custom',
        path: ['context', 'whenFull'],
        message: `"compact" needs a "budgetTokens" of at least ${compactBudgetMin}`,
      });
    }
  })
  .transform(({ instructions, model, pools, title, tools, ...rest }): AssistantFile => {
    const entries = pools?.map((entry) => (typeof entry === 'string' ? { pool: entry } : entry));
    return {
      instructionsFile: instructions,
      tools,
      spec: withoutUndefined({
        ...rest,
        title: title ?? rest.name,
        pools: entries ?? [{ pool: defaultPool, model }],
      }) as AssistantSpec,
    };
  });

/** The context of a spec that was stored when fewer of its settings were known: each has its default. */
export function completeContext(stored: Pick<AssistantSpec['context'], 'budgetTokens'>): AssistantSpec['context'] {
  return context.parse(stored);
}

/** JSON Schema (draft 2020-12) of `assistant.yaml`, for editors. */
export function assistantJsonSchema(): Record<string, unknown> {
  const generated = z.toJSONSchema(assistantSchema, { io: 'input' });
  return { ...generated, title: 'assistant.yaml', description: 'An Usher assistant.' };
}

/** Drops keys that stand without a value, so that two specs with the same meaning have the same form. */
function withoutUndefined(value: unknown): unknown {
  if (Array.isArray(value)) return value.map((item) => withoutUndefined(item));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, inner]) => inner !== undefined)
      .map(([key, inner]) => [key, withoutUndefined(inner)]),
  );
}
