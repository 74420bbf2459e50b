import { z } from 'zod';
import {
  adminRoutes,
  errorDescriptions,
  openAiRoutes,
  pageRoutes,
  probeRoutes,
  responseEvents,
  type Policy,
  type ProbeOptions,
  type Route,
} from '#http';
import type { TurnRooms } from '#turn';
import type { UserTokens } from '#control';
import { generated, keysOf, page, sectionsOf, table, type JsonSchema } from './reference-markdown.ts';

/** The route table is read here and nothing handled, so that no room is needed. */
export function documentedRoutes(): { readonly title: string; readonly routes: readonly Route[] }[] {
  const rooms = {} as TurnRooms;
  return [
    { title: 'The OpenAI wire', routes: openAiRoutes(rooms, new Map()) },
    { title: 'Pages and people', routes: pageRoutes({ rooms, tokens: {} as UserTokens, models: '' }) },
    { title: 'Administration', routes: adminRoutes(rooms) },
    { title: 'Operation', routes: probeRoutes({} as ProbeOptions) },
  ];
}

export function httpApiPage(): string {
  return page([
    '# HTTP API',
    generated,
    'Any OpenAI client works with `<address>/v1` as its base URL and an assistant’s name as its model. A credential is sent as `Authorization: Bearer …`. Bodies are JSON; a field that is not named here is ignored, and `null` means the same as leaving it out.',
    'Every answer names its request in `x-request-id`, and every answer of an assistant the release that was served in `x-usher-release`.',
    ...documentedRoutes().flatMap(({ title, routes }) => [`## ${title}`].concat(routes.flatMap(routeSections))),
    '## Shapes',
    ...shapeSections(documentedRoutes().flatMap(({ routes }) => routes)),
    '## Events of a response',
    'Each is one server-sent event, named by its `type`, with a `sequence_number` that counts from 0 without gaps. Order: `response.created`, `response.in_progress`; for each item `response.output_item.added`, its parts with their pieces and ends, `response.output_item.done`; one terminal event; `[DONE]`. A stream that ends without its terminal event was cut: what came is not the whole.',
    table(
      ['event', 'what it tells'],
      Object.entries(responseEvents).map(([type, text]) => [`\`${type}\``, text]),
    ),
    '## Errors',
    'A refused request is answered with `{"error":{"message":…,"type":…,"param":…,"code":…}}`. From status 500 up the message holds the code and the request id alone. Within a stream that has begun, a failure is an event: `response.failed`, or on Chat Completions the same error object, after which the connection is closed. Where a repeat can succeed, `Retry-After` says when; elsewhere `x-should-retry: false` keeps clients from repeating by themselves.',
    table(
      ['code', 'status', 'type', 'repeat', 'what to do'],
      errorDescriptions().map(({ wireCode, status, type, repeat, mend }) => [
        `\`${wireCode}\``,
        String(status),
        `\`${type}\``,
        repeat ? 'yes' : 'no',
        mend,
      ]),
    ),
  ]);
}

function routeSections(route: Route): string[] {
  const { method, path, policy, summary, body, query, answer } = route;
  return [
    `### ${method} ${path.replaceAll(/:(\w+)/g, '{$1}')}`,
    summary,
    `Who may call: ${callers(policy)}`,
    ...(query === undefined ? [] : ['Query:', ...keysOf(schemaOf(query), '', 4)]),
    ...(body === undefined ? [] : ['Body:', ...keysOf(schemaOf(body), '', 4)]),
    ...(answer === undefined ? [] : [`Answer: ${answer}`]),
  ];
}

/** What several bodies share, once. */
function shapeSections(routes: readonly Route[]): string[] {
  const bodies = routes.flatMap(({ body }) => (body === undefined ? [] : [schemaOf(body)]));
  const shapes: Record<string, JsonSchema> = Object.assign({}, ...bodies.map(({ $defs }) => $defs));
  return Object.entries(shapes).flatMap(([name, schema]) =>
    [`### ${name}`, schema.description ?? ''].concat(sectionsOf(schema, name, 4)),
  );
}

function schemaOf(schema: z.ZodType): JsonSchema {
  return z.toJSONSchema(schema, { io: 'input' }) as JsonSchema;
}

function callers(policy: Policy): string {
  switch (policy.access) {
    case 'public':
      return `anyone; ${policy.why}.`;
    case 'operator':
      return `a key with the scope \`observe\`, or anyone on the machine itself where no proxy is configured; ${policy.why}.`;
    case 'principal': {
      const words = { key: `an API key with the scope \`${policy.scope}\``, user: 'a person with their own token' };
      return `${policy.kinds.map((kind) => words[kind]).join(', or ')}.`;
    }
  }
}
