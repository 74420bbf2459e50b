import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, describe, expect, test } from 'vitest';
import { UsherError } from '#base';
import { probeRoutes, type Route } from '#http';
import { closeEdges, openEdge, type EdgeFixture } from '#test/edge-fixture';
import { fuzzBytes } from './fuzz-bytes.ts';
import { fuzzRoutes } from './fuzz-routes.ts';

afterEach(closeEdges);

const policy: Route['policy'] = { access: 'principal', kinds: ['key', 'user'], scope: 'talk' };

/** One route of each shape that the edge knows. */
const routes: Route[] = [
  {
    method: 'POST',
    path: '/v1/echo/:name',
    policy,
    summary: 'Answers the test.',
    handle: async (exchange) =>
      exchange.sendJson(200, { params: exchange.params, body: (await exchange.json()) ?? null }),
  },
  {
    method: 'GET',
    path: '/v1/streams/:name/parts/:part',
    policy,
    summary: 'Answers the test.',
    handle: async (exchange) => {
      const out = exchange.openStream();
      for (let part = 0; part < 3; part += 1) {
        await out.write(`data: ${JSON.stringify([exchange.params, exchange.query.get('after'), part])}\n\n`);
        await delay(1);
      }
      out.end();
    },
  },
  {
    method: 'DELETE',
    path: '/v1/echo/:name',
    policy: { access: 'principal', kinds: ['key'], scope: 'manage' },
    summary: 'Answers the test.',
    handle: async (exchange) => {
      throw new UsherError('not_found', 'There is no such thing.', { param: exchange.params.name ?? '' });
    },
  },
  {
    method: 'GET',
    path: '/',
    policy: { access: 'public', why: 'the front page is for everyone' },
    summary: 'Answers the test.',
    handle: async (exchange) => exchange.send(200, 'text/html', exchange.origin),
  },
];

async function open(): Promise<{ readonly edge: EdgeFixture; readonly routes: readonly Route[] }> {
  const { telemetry } = await openEdge([]);
  const probes = probeRoutes({
    check: async () => undefined,
    isDraining: () => false,
    isPrepared: () => true,
    telemetry,
  });
  const all = [...routes, ...probes];
  return { edge: await openEdge(all, { limits: { jsonDepth: 64 } }), routes: all };
}

describe('no input ends the process', () => {
  test('over every route each refusal is the OpenAI error object, and none is a defect', async () => {
    const { edge, routes } = await open();
    const credentials = ['key:acme:talk', 'key:acme:talk,manage', 'user:acme:ann'].map((token) => ({
      authorization: `Bearer ${token}`,
    }));
    const { requests } = await fuzzRoutes({ url: edge.url, routes, credentials, runs: 120 });
    expect(requests).toBeGreaterThanOrEqual(routes.length * 120);
    expect(edge.log.filter((line) => line.msg === 'unexpected error')).toEqual([]);
  });

  test('bytes on the raw socket are refused or served, and the next request is served', async () => {
    const { edge } = await open();
    await fuzzBytes({ url: edge.url });
    expect(edge.log.filter((line) => line.msg === 'unexpected error')).toEqual([]);
  });

  test('the fuzzers themselves find a route that breaks the rules', async () => {
    const broken = async (handle: Route['handle']): Promise<void> => {
      const routes: Route[] = [
        {
          method: 'POST',
          path: '/broken',
          policy: { access: 'public', why: 'the fuzzer must find it' },
          summary: 'Breaks.',
          handle,
        },
      ];
      const { url } = await openEdge(routes);
      await fuzzRoutes({ url, routes, credentials: [], runs: 40, seed: 7 });
    };
    const crash = broken(async (exchange) => exchange.sendJson(200, ((await exchange.json()) as { a: { b: 1 } }).a.b));
    await expect(crash).rejects.toThrow(/seed: 7/);
    await expect(broken(async (exchange) => exchange.send(400, 'text/plain', 'no'))).rejects.toThrow(/Property failed/);
  });
});
