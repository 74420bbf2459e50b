import { z } from 'zod';
import { azureShape, httpUrl, secretReference } from './schema-parts.ts';

const embeddingName = z
  .string()
  .regex(
    /^[A-Za-z0-9][A-Za-z0-9._:-]{0,62}$/,
    'must be letters, digits, dots, colons, dashes and underscores, at most 63 of them',
  )
  .describe('What applications ask for as `model`.');

const shared = {
  batchTexts: z
    .int()
    .min(1)
    .max(256)
    .default(256)
    .describe('Texts sent in one request; longer lists are sent in several. Lower it where the server takes fewer.'),
  timeoutMs: z
    .int()
    .min(1)
    .max(30 * 60_000)
    .default(60_000)
    .describe('Until the vectors of one request are there.'),
};

const model = z.string().min(1).optional().describe('What the server calls the model. Default: its name here.');

export const embeddingsConfig = z
  .array(
    z.discriminatedUnion('kind', [
      z
        .strictObject({
          name: embeddingName,
          kind: z.literal('openai'),
          url: httpUrl.default('https://api.openai.com/v1').describe('Base address, up to and including `/v1`.'),
          key: secretReference('OPENAI_API_KEY').describe('The API key, by reference.'),
          model,
          ...shared,
        })
        .describe('The OpenAI API.'),
      z
        .strictObject({
          name: embeddingName,
          kind: z.literal('azure-openai'),
          ...azureShape,
          ...shared,
        })
        .describe('A deployment of Azure OpenAI.'),
      z
        .strictObject({
          name: embeddingName,
          kind: z.literal('openai-compatible'),
          url: httpUrl.describe('Base address, up to and including `/v1`.'),
          key: secretReference('EMBEDDINGS_API_KEY')
            .optional()
            .describe('The API key, by reference, where one is asked for.'),
          model,
          ...shared,
        })
        .describe('Any server that has `/embeddings` on the OpenAI wire: vLLM, Ollama, llama.cpp, another gateway.'),
    ]),
  )
  .default([]);

export type EmbeddingsFile = z.infer<typeof embeddingsConfig>[number];
