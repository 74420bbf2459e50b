import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import type { HttpTool } from '#release';
import { ToolFailure } from '../tool-failure.ts';
import { placeArguments } from './place-arguments.ts';

const tool: Pick<HttpTool, 'path' | 'places'> = {
  path: '/api/v1/users/{user}/files/{file}.json?fixed=1',
  places: {
    user: { in: 'path' },
    file: { in: 'path' },
    q: { in: 'query', joined: false },
    list: { in: 'query', joined: true },
  },
};

const hostile = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 12 }),
  fc
    .array(
      fc.constantFrom(
        '..',
        '.',
        '/',
        '\\',
        '%2e',
        '%2E',
        '%2f',
        '%5c',
        '%252e',
        '%25',
        '?',
        '#',
        '@',
        ':',
        ';',
        '&',
        '\r\n',
        '\0',
        '．',
        '／',
        'a',
      ),
      { maxLength: 6 },
    )
    .map((parts) => parts.join('')),
);

/** As a server on the way could see it: decoded as often as it likes. */
function steps(path: string): string[] {
  let left = path;
  for (let times = 0; times < 4; times += 1) {
    left = left.replaceAll(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCodePoint(Number.parseInt(hex, 16)));
  }
  return left.normalize('NFKC').split(/[/\\]/);
}

test('whatever the arguments, the request stays below the declared path of the declared origin', () => {
  fc.assert(
    fc.property(hostile, hostile, fc.jsonValue(), fc.array(hostile, { maxLength: 3 }), (user, file, q, list) => {
      let path: string;
      try {
        ({ path } = placeArguments(tool, { user, file, q, list }));
      } catch (error) {
        expect(error).toBeInstanceOf(ToolFailure);
        return;
      }
      const url = new URL(path, 'https://api.example.com');
      expect(url.origin).toBe('https://api.example.com');
      expect(url.hash).toBe('');
      expect(url.pathname + url.search).toBe(
        path.replaceAll("'", '%27').replace(/^[^?]*/, (p) => p.replaceAll('%27', "'")),
      );
      expect(url.searchParams.get('fixed')).toBe('1');
      const [nothing, api, version, users, , files, last, ...more] = steps(url.pathname);
      expect([nothing, api, version, users, files, more]).toEqual(['', 'api', 'v1', 'users', 'files', []]);
      expect(last).toMatch(/\.json$/s);
      expect(steps(url.pathname)).not.toContain('..');
    }),
    { numRuns: 3000 },
  );
});

test.each([
  '..',
  '.',
  '../x',
  'a/b',
  String.raw`a\b`,
  '%2e%2e',
  '%2E%2e%2Fadmin',
  '%252e%252e',
  'a%2fb',
  '..;',
  '',
  '／',
  '．．',
  'a\0',
  '\u{d800}',
])('a path argument %j is refused with a sentence', (user) => {
  expect(() => placeArguments(tool, { user, file: 'x' })).toThrow(/argument "user"/);
});

test.each([
  ['a?b#c', 'a%3Fb%23c'],
  ['50%', '50%25'],
  ['a b+c', 'a%20b%2Bc'],
  ['...', '...'],
  ['ü@:', '%C3%BC%40%3A'],
])('a path argument %j is one step', (user, spelt) => {
  expect(placeArguments(tool, { user, file: 'x' }).path).toBe(`/api/v1/users/${spelt}/files/x.json?fixed=1`);
});

test('an argument cannot reach what every object has', () => {
  const given = JSON.parse('{"user":"a","file":"b","__proto__":{"x":1}}') as Record<string, unknown>;
  expect(() => placeArguments(tool, given)).toThrow(/no argument "__proto__"/);
  expect(() => placeArguments({ ...tool, path: '/{constructor}' }, { user: 'a' })).toThrow(/argument "constructor"/);
});
