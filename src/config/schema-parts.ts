import { z } from 'zod';
import { literalSecret } from './redact.ts';

/** What things of `usher.yaml` may be called. */
export const configName = z
  .string()
  .regex(/^[a-z0-9][a-z0-9-]{0,62}$/, 'must be lower-case letters, digits and dashes, at most 63 of them');

/** The message for a secret that was written out. */
export function refuseLiteral(example: string) {
  return (issue: { code?: string; input?: unknown }): string | undefined =>
    issue.code === 'invalid_type' && issue.input !== undefined
      ? `${literalSecret}; put it into the environment or a file of its own and refer to it: ${example}`
      : undefined;
}

/** `{ env: NAME }` or `{ file: path }`. */
export function secretReference(variable: string) {
  return z
    .strictObject(
      {
        env: z.string().min(1).optional().describe('Name of the environment variable that holds the secret.'),
        file: z
          .string()
          .min(1)
          .optional()
          .describe('Path of a file that holds the secret alone, relative to this file. Its mode should be 0600.'),
      },
      { error: refuseLiteral(`{ env: ${variable} }`) },
    )
    .refine((reference) => (reference.env === undefined) !== (reference.file === undefined), {
      error: `name one source, either { env: ${variable} } or { file: path }`,
    });
}

/** A base address that can be called. */
export const httpUrl = z.string().superRefine((text, context) => {
  const problem = urlProblem(text);
  if (problem !== undefined) context.addIssue({ code: 'custom', message: problem });
});

function urlProblem(text: string): string | undefined {
  const url = URL.parse(text);
  if (url === null) return 'must be a whole address, for example https://api.openai.com/v1';
  if (url.protocol !== 'http:' && url.protocol !== 'https:') {
    return `must begin with https:// or http://, since ${url.protocol}// cannot be called`;
  }
  if (url.username !== '' || url.password !== '') {
    return 'must not carry a user name or password; give the credential as `key: { env: NAME }`';
  }
  if (url.search !== '' || url.hash !== '') return 'must end with the path; leave out everything from ? or #';
  return undefined;
}

/** Scheme, host and port alone. */
export const origin = z.string().superRefine((text, context) => {
  const url = URL.parse(text);
  if (url === null || url.origin !== text || !url.protocol.startsWith('http')) {
    context.addIssue({
      code: 'custom',
      message: 'must be an origin: scheme, host and port alone, for example https://www.example.org',
    });
  }
});

/** Where a deployment of Azure OpenAI is and how it is called, whatever it serves. */
export const azureShape = {
  url: httpUrl.describe("The resource's address, `https://<resource>.openai.azure.com`."),
  deployment: z.string().min(1).describe('Name of the deployment in that resource.'),
  apiVersion: z
    .string()
    .min(1)
    .optional()
    .describe(
      "Version of the service's interface. Default: 2024-10-21, none for an address that ends in `/openai/v1`.",
    ),
  key: secretReference('AZURE_OPENAI_API_KEY').describe('The API key, by reference.'),
};
