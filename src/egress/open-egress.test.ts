import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { scriptedBackend } from '#test/scripted-backend';
import { openEgress, type Reach } from './open-egress.ts';
import { isPublicAddress } from './public-address.ts';

/** Status of the answer, or the code of the failure. */
async function reach(url: string, from: Reach): Promise<number | string> {
  const egress = openEgress(new URL(url), from);
  try {
    return await new Promise((resolve) => {
      egress.send(
        { method: 'GET', path: '/', headers: {} },
        {
          onRequestStart: () => undefined,
          onResponseStart: (_controller, status) => resolve(status),
          onResponseData: () => undefined,
          onResponseEnd: () => undefined,
          onResponseError: (_controller, error) => resolve(String((error as NodeJS.ErrnoException).code)),
        },
      );
    });
  } finally {
    await egress.close();
  }
}

describe('the way out', () => {
  test('reaches this machine where the owner configured it', async () => {
    await using server = await scriptedBackend((_request, response) => void response.end());
    expect(await reach(`http://127.0.0.1:${server.port}`, 'configured')).toBe(200);
    expect(await reach(`http://localhost:${server.port}`, 'configured')).toBe(200);
  });

  test.each(['127.0.0.1', 'localhost', '2130706433', '0x7f.1', '[::ffff:127.0.0.1]', '[::ffff:7f00:1]'])(
    'does not reach this machine as %s where someone else named it',
    async (host) => {
      await using server = await scriptedBackend((_request, response) => void response.end());
      expect(await reach(`http://${host}:${server.port}`, 'public')).toBe('EADDRCLOSED');
      expect(server.requests).toHaveLength(0);
    },
  );

  test('has no more connections than it may, and the others wait for theirs', async () => {
    await using server = await scriptedBackend((_request, response) => void setTimeout(() => response.end('ok'), 20));
    const egress = openEgress(new URL(`http://127.0.0.1:${server.port}`), 'configured', 2);
    const ask = async (): Promise<number> => {
      const { status, body } = await egress.open({ method: 'GET', path: '/', headers: {} }, 5000, undefined);
      for await (const _ of body);
      return status;
    };
    expect(await Promise.all(Array.from({ length: 8 }, ask))).toEqual(Array(8).fill(200));
    expect(new Set(server.requests.map(({ socket }) => socket)).size).toBe(2);
    await egress.close();
  });

  test('follows no redirect', async () => {
    await using server = await scriptedBackend((_request, response) => {
      response.writeHead(302, { location: '/elsewhere' }).end();
    });
    expect(await reach(`http://127.0.0.1:${server.port}`, 'configured')).toBe(302);
    expect(server.requests).toHaveLength(1);
  });
});

describe('an address of the public internet', () => {
  test.each(['1.1.1.1', '8.8.8.8', '172.32.0.1', '100.128.0.1', '2606:4700::1111', '2a00:1450::1'])(
    '%s is one',
    (address) => {
      expect(isPublicAddress(address)).toBe(true);
    },
  );

  test.each([
    '0.0.0.0',
    '10.1.2.3',
    '100.64.0.1',
    '127.8.8.8',
    '169.254.169.254',
    '172.16.0.1',
    '192.168.1.1',
    '198.18.0.1',
    '224.0.0.1',
    '255.255.255.255',
    '::',
    '::1',
    '::ffff:8.8.8.8',
    '::ffff:a00:1',
    'fe80::1',
    'fc00::1',
    'ff02::1',
    '64:ff9b::a00:1',
    '2001:db8::1',
    '2002:7f00:1::',
    'localhost',
    '',
    '1.1.1',
  ])('"%s" is none', (address) => {
    expect(isPublicAddress(address)).toBe(false);
  });

  test('is none of the private ranges, whichever way it is written', () => {
    const octet = fc.nat(255);
    fc.assert(
      fc.property(fc.constantFrom('10', '127', '0'), octet, octet, octet, (first, ...rest) => {
        const address = [first, ...rest].join('.');
        expect([isPublicAddress(address), isPublicAddress(`::ffff:${address}`)]).toEqual([false, false]);
      }),
    );
  });
});
