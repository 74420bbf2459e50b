import { z } from 'zod';
import { roles } from '#cluster';
import { embeddingsConfig } from './embeddings-config-schema.ts';
import { azureShape, configName as name, httpUrl, origin, refuseLiteral, secretReference } from './schema-parts.ts';
import { toolsConfig } from './tools-config-schema.ts';

/**
 * `usher.yaml`. This schema is the one source: the program validates with it, editors get it as JSON
 * Schema, and the configuration reference is generated from its descriptions.
 */

const seconds = 1000;
const minutes = 60 * seconds;

const milliseconds = (most: number) => z.int().min(1).max(most);

const rootKeyReference = z
  .strictObject(
    {
      env: z.string().min(1).optional().describe('Name of the environment variable that holds the key.'),
      file: z.string().min(1).optional().describe('Path of a file that holds the key, relative to this file.'),
      command: z
        .array(z.string())
        .min(1)
        .optional()
        .describe('A program and its arguments that prints the key; run without a shell, for at most 10 seconds.'),
    },
    { error: refuseLiteral('{ env: USHER_ROOT_KEY }') },
  )
  .refine((reference) => Object.values(reference).filter((source) => source !== undefined).length === 1, {
    error: 'name one source: { env: NAME }, { file: path } or { command: [program, argument] }',
  });

const backendName = name.describe('What pools call this backend. Shown in the terminal, the page and the metrics.');
const backendLimits = {
  contextTokens: z
    .int()
    .min(256)
    .optional()
    .describe('Tokens that the model takes in and gives out in one request. Default: what the backend itself allows.'),
  concurrency: z.int().min(1).max(10_000).optional().describe('Requests under way at once, at the most.'),
  requestsPerMinute: z
    .int()
    .min(1)
    .optional()
    .describe("The backend's own limit, if it has one, so that it is never exceeded."),
  tokensPerMinute: z.int().min(1).optional().describe("The backend's own limit on tokens, if it has one."),
};

const backend = z.discriminatedUnion('kind', [
  z
    .strictObject({
      name: backendName,
      kind: z.literal('openai'),
      url: httpUrl.default('https://api.openai.com/v1').describe('Base address, up to and including `/v1`.'),
      key: secretReference('OPENAI_API_KEY').describe('The API key, by reference.'),
      model: z.string().min(1).describe('The model that answers unless an assistant names another.'),
      ...backendLimits,
    })
    .describe('The OpenAI API.'),
  z
    .strictObject({
      name: backendName,
      kind: z.literal('azure-openai'),
      ...azureShape,
      model: z.string().min(1).optional().describe('What the deployment runs, for display and token counts.'),
      ...backendLimits,
    })
    .describe('A deployment of Azure OpenAI.'),
  z
    .strictObject({
      name: backendName,
      kind: z.literal('openai-compatible'),
      url: httpUrl.describe('Base address, up to and including `/v1`.'),
      key: secretReference('MODEL_API_KEY').optional().describe('The API key, by reference, where one is asked for.'),
      model: z.string().min(1).optional().describe('The model that answers. Default: the first that the server lists.'),
      continuation: z
        .enum(['none', 'final-message', 'prefix', 'assistant'])
        .default('none')
        .describe(
          'How it goes on with an answer that another server broke off: `final-message` for vLLM and SGLang, `prefix` for DeepSeek and Mistral, `assistant` for llama.cpp, `none` where it makes the answer anew.',
        ),
      ...backendLimits,
    })
    .describe('Any server that speaks the OpenAI wire: vLLM, llama.cpp, Ollama, another gateway.'),
  z
    .strictObject({
      name: backendName,
      kind: z.literal('local'),
      modelPath: z.string().min(1).describe('Path of a GGUF file, relative to this file.'),
      ...backendLimits,
    })
    .describe('A model that runs on this machine, in a process of its own. `usher model` installs what it needs.'),
  z
    .strictObject({ name: backendName, kind: z.literal('knowledge') })
    .describe("No model: the best passages of the assistant's own knowledge, quoted with their sources."),
]);

const timeouts = z
  .strictObject({
    connectMs: milliseconds(minutes)
      .default(5 * seconds)
      .describe('Until the connection stands.'),
    firstTokenMs: milliseconds(30 * minutes)
      .default(60 * seconds)
      .describe('Until the first token.'),
    betweenTokensMs: milliseconds(10 * minutes)
      .default(30 * seconds)
      .describe('Between two tokens.'),
    wholeMs: milliseconds(120 * minutes)
      .default(10 * minutes)
      .describe('The whole answer.'),
  })
  .describe('Time limits of one attempt at one backend.');

const pool = z.strictObject({
  name: name.describe('What `pools` in `assistant.yaml` calls it. An assistant that names none uses `default`.'),
  backends: z
    .array(z.string())
    .min(1)
    .describe('Names of interchangeable backends; each request goes to the best one.'),
  attempts: z
    .int()
    .min(1)
    .max(10)
    .default(3)
    .describe('Attempts of one turn before it fails, the first included. Only before the first token.'),
  timeouts: timeouts.prefault({}),
  fallback: z
    .literal('knowledge')
    .optional()
    .describe(
      "`knowledge`: when no backend can answer, quote the best passages of the assistant's own knowledge. Default: say that no backend can answer.",
    ),
});

const side = z.strictObject({
  folder: z.string().min(1).describe('The assistant folder of this side, relative to this file.'),
  share: z
    .number()
    .positive('must be above 0; leave out a side that shall serve nobody')
    .describe('Its weight beside the other sides.'),
});

const environment = z
  .strictObject({
    folder: z.string().min(1).optional().describe('The one assistant folder that serves here, relative to this file.'),
    split: z
      .array(side)
      .min(2, 'must have two sides or more; for one folder write `folder:`')
      .max(16)
      .optional()
      .describe('Two or more releases side by side; each person keeps the side that they were given.'),
    salt: z
      .string()
      .min(1)
      .max(200)
      .optional()
      .describe('Decides who is on which side. A new salt deals everyone anew. Default: `<assistant>/<environment>`.'),
  })
  .refine((value) => (value.folder === undefined) !== (value.split === undefined), {
    error: 'give either `folder` or `split`',
  });

const assistant = z
  .strictObject({
    name: name.describe('The name of the assistant, equal to `name` in its `assistant.yaml`.'),
    folder: z.string().min(1).optional().describe('Short for an environment `production` with this one folder.'),
    environments: z
      .record(name, environment)
      .optional()
      .describe('Where releases serve, by name. `production` is what callers get who name none.'),
  })
  .refine((value) => (value.folder === undefined) !== (value.environments === undefined), {
    error: 'give either `folder` or `environments`',
  });

const tenant = z.strictObject({
  id: name.default('default').describe('Name of the tenant: nothing is shared between two tenants.'),
  assistants: z.array(assistant).min(1).describe('The assistants of this tenant.'),
  corsOrigins: z
    .array(origin)
    .default([])
    .describe('Origins whose browsers may call the API with a key of this tenant.'),
  limits: z
    .strictObject({
      requestsPerMinute: z.int().min(1).default(6000).describe('Requests of the whole tenant per minute.'),
      concurrency: z.int().min(1).default(1000).describe('Turns of the whole tenant under way at once.'),
    })
    .prefault({})
    .describe('Limits of the whole tenant on each node. A quarter of both is kept for API keys.'),
});

const storage = z.discriminatedUnion('kind', [
  z
    .strictObject({
      kind: z.literal('sqlite'),
      path: z
        .string()
        .min(1)
        .optional()
        .describe('The database file, relative to this file. Default: `usher.db` in the data folder.'),
      bytesMax: z
        .int()
        .min(1 << 20)
        .optional()
        .describe(
          'How large the database file may grow. At that size nothing new is stored, as on a full disk; what is stored can be read and deleted. Default: as the disk allows.',
        ),
    })
    .describe('One process, nothing to install.'),
  z
    .strictObject({
      kind: z.literal('postgres'),
      url: secretReference('DATABASE_URL').describe('`postgres://user:password@host/database`, by reference.'),
      poolMax: z.int().min(1).max(1000).default(10).describe('Connections at the most.'),
    })
    .describe('A PostgreSQL server.'),
]);

const listen = z.strictObject({
  host: z
    .string()
    .min(1)
    .default('127.0.0.1')
    .describe('Address to listen on. `0.0.0.0`: every network of this machine.'),
  port: z.int().min(0).max(65_535).optional().describe('0: any free one. Default: 8080, or the next free one.'),
  publicUrl: httpUrl.optional().describe('How others reach this server where a proxy stands before it.'),
  trustedProxies: z
    .array(z.string().min(1))
    .default([])
    .describe('Addresses or networks (`10.0.0.0/8`) of proxies whose `X-Forwarded-*` headers are believed.'),
});

const limits = z.strictObject({
  bodyBytes: z
    .int()
    .min(1024)
    .max(1 << 28)
    .default(10 << 20)
    .describe('Largest request body.'),
  headerBytes: z
    .int()
    .min(1024)
    .max(1 << 20)
    .default(16 << 10)
    .describe('Largest request head.'),
  jsonDepth: z.int().min(4).max(1000).default(64).describe('Deepest nesting of a JSON body.'),
  connections: z.int().min(1).max(1_000_000).default(10_000).describe('Open connections at the most.'),
  connectionsPerAddress: z
    .int()
    .min(1)
    .max(1_000_000)
    .default(1000)
    .describe(
      'Of them, those of one client address (of IPv6: one network of 64 bits). This machine and `listen.trustedProxies` are not counted.',
    ),
  headersTimeoutMs: milliseconds(10 * minutes)
    .default(10 * seconds)
    .describe('Until a request head is whole.'),
  bodyTimeoutMs: milliseconds(60 * minutes)
    .default(30 * seconds)
    .describe('Until a request body is whole.'),
  sendBufferBytes: z
    .int()
    .min(4096)
    .max(1 << 28)
    .default(1 << 20)
    .describe('Bytes that may wait for a slow reader before it is dropped.'),
  announceMs: z
    .int()
    .min(0)
    .max(10 * minutes)
    .default(0)
    .describe(
      'How long a stop says no on `/readyz` while it still serves, so that load balancers take the node out first.',
    ),
  drainMs: z
    .int()
    .min(0)
    .max(60 * minutes)
    .default(30 * seconds)
    .describe('How long a stop waits for answers under way.'),
});

const telemetry = z.strictObject({
  logLevel: z.enum(['debug', 'info', 'warn', 'error']).default('info').describe('What is written to the log.'),
});

export const configSchema = z
  .strictObject({
    listen: listen.prefault({}).describe('Where Usher is reached.'),
    data: z
      .string()
      .min(1)
      .optional()
      .describe('The data folder, relative to this file. Default: `.usher` beside this file.'),
    roles: z
      .array(z.enum(roles))
      .min(1)
      .refine((named) => new Set(named).size === named.length, { error: 'must name each role once' })
      .optional()
      .describe(
        'What this process does: `gateway` answers the API and the pages, `worker` runs turns, `control` loads the assistant folders and publishes them to all. Default: all three, which SQLite needs.',
      ),
    storage: storage.prefault({ kind: 'sqlite' }).describe('Where conversations are kept.'),
    vault: z
      .strictObject({
        rootKeys: z
          .array(rootKeyReference)
          .min(1)
          .optional()
          .describe(
            'Root keys, 32 bytes each in base64 or hex, the current one first, older ones after it. Default: a key file in the data folder, made at first start.',
          ),
      })
      .prefault({})
      .describe('The key above all keys. Without it nothing that was stored can be read again.'),
    backends: z
      .array(backend)
      .min(1)
      .optional()
      .describe(
        'Model endpoints. Default: what is found, in this order: OPENAI_API_KEY, a local model server, a local model file.',
      ),
    pools: z
      .array(pool)
      .min(1)
      .optional()
      .describe('Groups of interchangeable backends. Default: one pool `default` with every backend.'),
    embeddings: embeddingsConfig.describe(
      'Embedding models, by the name that applications ask for at `/v1/embeddings`. Default: none.',
    ),
    tenants: z
      .array(tenant)
      .min(1)
      .optional()
      .describe('Who uses this server. Default: one tenant `default` with the assistant of this folder.'),
    tools: toolsConfig.prefault({}).describe('What the tools of assistants may use and reach.'),
    limits: limits.prefault({}).describe('What one caller may cost.'),
    telemetry: telemetry.prefault({}).describe('What is reported. Traces follow the usual OTEL_* variables.'),
  })
  .describe('The configuration of an Usher server.');

/** JSON Schema (draft 2020-12) of `usher.yaml`, for editors. */
export function configJsonSchema(): Record<string, unknown> {
  return { ...z.toJSONSchema(configSchema, { io: 'input' }), title: 'usher.yaml' };
}

export type ConfigFile = z.infer<typeof configSchema>;
export type BackendFile = z.infer<typeof backend>;
export type SecretReference = { readonly env?: string | undefined; readonly file?: string | undefined };
export type RootKeyReference = SecretReference & { readonly command?: readonly string[] | undefined };
