import type { Egress, EgressReply, EgressRequest } from '#egress';
import { openArgumentCheck, type HttpTool } from '#release';
import { authorise, type AuthorityOptions } from '../authority.ts';
import type { RunnableTool } from '../runnable-tool.ts';
import { networkFailure, ToolFailure } from '../tool-failure.ts';
import { placeArguments } from './place-arguments.ts';
import { readReply } from './read-reply.ts';

const redirectsMax = 3;

/** A declared HTTP request as a tool that runs. */
export function httpTool(
  tool: HttpTool,
  way: (origin: string) => Egress,
  authority: Omit<AuthorityOptions, 'origin'>,
): RunnableTool {
  const { name, source, description, parameters, policy } = tool;
  const { idempotent, confirm, timeoutMs, resultBytesMax } = policy;
  return {
    shown: {
      name,
      source,
      ...(description === undefined ? {} : { description }),
      parameters,
      idempotent,
      confirm,
      timeoutMs,
    },
    policy,
    check: openArgumentCheck(parameters),
    run: async (given, context, signal) => {
      const { headers, secrets } = authorise(tool, context, { ...authority, origin: tool.origin });
      const { path, body } = placeArguments(tool, given);
      const request: EgressRequest = {
        method: tool.method,
        path,
        headers: {
          accept: 'application/json, text/*;q=0.9, */*;q=0.1',
          'user-agent': 'usher',
          ...lowerCased(tool.headers),
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
          'idempotency-key': context.idempotencyKey,
          ...headers,
        },
        ...(body === undefined ? {} : { body }),
      };
      try {
        const reply = await send(way(tool.origin), request, timeoutMs, signal);
        return await readReply(reply, { bytesMax: resultBytesMax, secrets });
      } catch (error) {
        throw error instanceof ToolFailure ? error : (networkFailure(error, tool.origin) ?? error);
      }
    },
  };
}

function lowerCased(headers: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([key, value]) => [key.toLowerCase(), value]));
}

/** Follows redirects of reading requests within the origin; any other could carry data or a credential elsewhere. */
async function send(
  egress: Egress,
  request: EgressRequest,
  silenceMs: number,
  signal: AbortSignal,
): Promise<EgressReply> {
  let { path } = request;
  for (let redirects = 0; ; redirects += 1) {
    const reply = await egress.open({ ...request, path }, silenceMs, signal);
    if (![301, 302, 303, 307, 308].includes(reply.status)) return reply;
    reply.body.destroy();
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      throw new ToolFailure(
        'failed',
        "The tool's server redirects, which is followed for GET alone, so it is not known whether anything was done.",
      );
    }
    if (redirects === redirectsMax)
      throw new ToolFailure('failed', `The tool's server redirects more than ${redirectsMax} times.`);
    const target = URL.parse(reply.headers.location ?? '', `${egress.origin}${path}`);
    if (target === null || target.origin !== egress.origin) {
      throw new ToolFailure('failed', "The tool's server redirects to another site, which is not followed.");
    }
    path = `${target.pathname}${target.search}`;
  }
}
