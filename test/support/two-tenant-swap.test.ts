import { afterEach, describe, expect, test } from 'vitest';
import { newId, UsherError } from '#base';
import type { Principal } from '#access';
import type { Exchange, Route } from '#http';
import { closeEdges, openEdge } from '#test/edge-fixture';
import { swapEveryId, type Party } from '#test/two-tenant-swap';

afterEach(closeEdges);

interface Note {
  readonly tenant: string;
  readonly subject: string | null;
}

/** How a server that keeps notes answers for a note that the caller may not see. */
type Refusal = (note: Note | undefined, id: string) => void;

const notFound: Refusal = () => {
  throw new UsherError('not_found', 'There is no such note.');
};

const parties: Party[] = [
  party('ann', 'acme', 'ann'),
  party('bob', 'acme', 'bob'),
  party('the key of acme', 'acme', null),
  party('the key of other', 'other', null),
];

function party(name: string, tenant: string, subject: string | null): Party {
  const authorization = subject === null ? `Bearer key:${tenant}:talk` : `Bearer user:${tenant}:${subject}`;
  return { name, tenant, subject, headers: { authorization }, ids: { note: newId('message'), line: newId('message') } };
}

function subjectOf(principal: Principal): string | null {
  return principal.kind === 'user' ? principal.subject : null;
}

function sees(principal: Principal, note: Note): boolean {
  const subject = subjectOf(principal);
  return note.tenant === principal.tenant && (subject === null || subject === note.subject);
}

/** A small server: each party has one note and one line in it. */
async function openNotes(refuse: Refusal = notFound, refuseInBody: Refusal = refuse, more: readonly Route[] = []) {
  const notes = new Map<string, Note>();
  for (const { tenant, subject, ids } of parties) {
    for (const id of Object.values(ids)) notes.set(id, { tenant, subject });
  }
  const look = (exchange: Exchange, id: string, refuse: Refusal): void => {
    const note = notes.get(id);
    if (!note || !sees(exchange.principal, note)) refuse(note, id);
  };
  const policy: Route['policy'] = { access: 'principal', kinds: ['key', 'user'], scope: 'talk' };
  const byPath = async (exchange: Exchange): Promise<void> => {
    for (const id of Object.values(exchange.params)) look(exchange, id, refuse);
    if (exchange.method === 'DELETE') for (const id of Object.values(exchange.params)) notes.delete(id);
    exchange.sendJson(200, { ids: exchange.params });
  };
  const byBody = async (exchange: Exchange): Promise<void> => {
    const { note } = (await exchange.json()) as { note: string };
    look(exchange, note, refuseInBody);
    exchange.sendJson(200, {});
  };
  const routes: Route[] = [
    { method: 'GET', path: '/v1/notes/:note', policy, summary: 'Reads a note.', handle: byPath },
    { method: 'GET', path: '/v1/notes/:note/lines/:line', policy, summary: 'Reads a note.', handle: byPath },
    { method: 'DELETE', path: '/v1/notes/:note', policy, summary: 'Reads a note.', handle: byPath },
    { method: 'POST', path: '/v1/notes', policy, summary: 'Reads a note.', handle: byBody },
    {
      method: 'GET',
      path: '/v1/keys/:note',
      policy: { access: 'principal', kinds: ['key'], scope: 'manage' },
      summary: 'Reads a note.',
      handle: byPath,
    },
    ...more,
  ];
  const { url } = await openEdge(routes);
  const carriers = [
    {
      method: 'POST',
      path: '/v1/notes',
      carries: ['note'],
      body: ({ note }: Readonly<Record<string, string>>) => ({ note }),
    },
  ];
  return await swapEveryId({ url, routes, parties, carriers });
}

describe('the two-tenant swap', () => {
  test('finds nothing on a server that keeps its tenants and people apart, and has asked every route', async () => {
    const report = await openNotes();
    expect(report.problems).toEqual([]);
    // Pairs of strangers: ann and bob each against 3, the two keys against 1 and 3; per pair 1 + 3 + 1 + 1 + 1 swaps.
    expect(report.swaps).toBe((3 + 3 + 1 + 3) * 7);
    expect(report.controls).toBe(4 * 3);
  });

  test('finds a list that is of no tenant, or of another one', async () => {
    const list = (path: string, tell: () => object): Route => ({
      method: 'GET',
      path,
      policy: { access: 'principal', kinds: ['key'], scope: 'talk' },
      summary: 'Lists notes.',
      handle: async (exchange) => exchange.sendJson(200, tell()),
    });
    const { problems } = await openNotes(notFound, notFound, [
      list('/admin/nodes', () => ({ nodes: ['one'], atMs: performance.now() })),
      list('/v1/notes', () => ({ notes: [parties[0]!.ids['note']] })),
    ]);
    expect(problems).toEqual([
      'GET /admin/nodes: the key of other and the key of acme are told the same',
      'GET /v1/notes: the key of other is told an id of ann',
    ]);
  });

  test.each<[string, Refusal, RegExp]>([
    ['shows what it should hide', () => undefined, /got 200/],
    [
      'says that it may not be seen',
      (note) => {
        if (note) throw new UsherError('forbidden', 'That note is not yours.');
        notFound(note, '');
      },
      /got 403/,
    ],
    [
      'words the two refusals differently',
      (note) => {
        throw new UsherError('not_found', note ? 'There is no such note for you.' : 'There is no such note.');
      },
      /can tell it from an id that nobody has/,
    ],
  ])('finds a server that %s', async (_name, refuse, problem) => {
    const { problems } = await openNotes(refuse);
    expect(problems.length).toBeGreaterThan(0);
    expect(problems.some((line) => problem.test(line))).toBe(true);
  });

  test('finds a leak through an id in a body', async () => {
    const { problems } = await openNotes(notFound, () => undefined);
    expect(problems).not.toEqual([]);
    expect(problems.every((line) => line.startsWith('POST /v1/notes: '))).toBe(true);
  });

  test('says which ids it was not given, so that a new route cannot slip by', async () => {
    const policy: Route['policy'] = { access: 'principal', kinds: ['key', 'user'], scope: 'talk' };
    const routes: Route[] = [
      {
        method: 'GET',
        path: '/v1/new/:thing',
        policy,
        summary: 'Reads a note.',
        handle: async (exchange) => exchange.sendJson(200, {}),
      },
    ];
    const { url } = await openEdge(routes);
    const { problems } = await swapEveryId({ url, routes, parties });
    expect(problems.some((line) => /has no id for thing/.test(line))).toBe(true);
  });
});
