import { z } from 'zod';
import { configName, origin, secretReference } from './schema-parts.ts';

const toolCredential = z
  .strictObject({
    secret: secretReference('CRM_TOKEN').describe('The secret, by reference.'),
    origins: z
      .array(origin)
      .min(1, 'must name the origins that the secret may be sent to')
      .max(20)
      .describe('Where it may be sent: scheme, host and port. It goes nowhere else, whatever an assistant says.'),
    header: z
      .string()
      .regex(/^[A-Za-z0-9-]{1,64}$/, 'must be a header name of letters, digits and hyphens')
      .refine((text) => !/^(host|cookie|connection|content-.*|transfer-encoding|idempotency-key|mcp-.*)$/i.test(text), {
        error: 'must be a header that carries a credential, such as Authorization or X-Api-Key',
      })
      .default('Authorization')
      .describe('The header that carries it.'),
    scheme: z
      .string()
      .regex(/^[A-Za-z-]{0,32}$/, 'must be a word such as Bearer, or empty')
      .optional()
      .describe('The word before it. Default: `Bearer` in `Authorization`, none in another header.'),
    tenants: z
      .array(configName)
      .min(1)
      .optional()
      .describe('Tenants whose assistants may use it. Default: the only tenant; needed where there are several.'),
  })
  .describe('One secret that Usher sends for an assistant.');

/** `tools:` of `usher.yaml`. */
export const toolsConfig = z.strictObject({
  credentials: z
    .record(configName, toolCredential)
    .default({})
    .describe('Secrets for tools, by the name that `credential` in `assistant.yaml` gives.'),
  privateOrigins: z
    .array(origin)
    .max(100)
    .default([])
    .describe(
      'Origins on this machine or a private network that tools may reach. Default: none, so that tools reach public addresses alone.',
    ),
});
