import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { assert, asyncProperty, constantFrom, oneof, string, tuple, type Arbitrary } from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { formatConfigProblem, loadConfig } from '#config';

let cwd: string;
beforeAll(() => {
  cwd = mkdtempSync(join(tmpdir(), 'usher-secrets-'));
  writeFileSync(join(cwd, 'assistant.yaml'), 'name: porter\n');
});
afterAll(() => rmSync(cwd, { recursive: true, force: true }));

const letters = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789';
const run = (from: string, minLength: number, maxLength: number): Arbitrary<string> =>
  string({ unit: constantFrom(...from.split('')), minLength, maxLength });

/** As services issue them, and as people choose passwords: with a lower-case letter, so no name of a variable. */
const secrets = oneof(
  tuple(constantFrom('sk-', 'sk-proj-', 'gsk_', 'ghp_', ''), run(letters, 24, 60), run('0123456789', 4, 4)).map((all) =>
    all.join(''),
  ),
  tuple(run('abcdefghijkmnpqrstuvwxyz', 8, 16), run('0123456789', 2, 4)).map((all) => all.join('')),
  run('0123456789abcdef', 32, 64),
);

/** Where a person pastes a key: right places, wrong places, wrong names. */
const places = [
  (secret: string) => `backends:\n  - { name: a, kind: openai, model: m, key: ${secret} }\n`,
  (secret: string) => `backends:\n  - name: a\n    kind: openai\n    model: m\n    key: "${secret}"\n`,
  (secret: string) => `backends:\n  - { name: a, kind: openai, model: m, key: { env: ${secret} } }\n`,
  (secret: string) => `backends:\n  - { name: a, kind: openai, model: m, key: { file: ${secret} } }\n`,
  (secret: string) => `backends:\n  - { name: a, kind: openai, model: m, key: { value: ${secret} } }\n`,
  (secret: string) => `backends:\n  - { name: a, kind: openai, model: m, api_key: ${secret} }\n`,
  (secret: string) => `backends:\n  - { name: a, kind: openai-compatible, url: https://me:${secret}@x.example/v1 }\n`,
  (secret: string) => `storage:\n  kind: postgres\n  url: postgres://usher:${secret}@db/usher\n`,
  (secret: string) => `storage:\n  kind: postgres\n  url: { env: "postgres://usher:${secret}@db/usher" }\n`,
  (secret: string) => `vault:\n  rootKeys: ["${secret}"]\n`,
  (secret: string) => `vault:\n  rootKeys:\n    - { env: ${secret} }\n`,
  (secret: string) => `vault:\n  rootKeys:\n    - { command: ["no-such-program", "${secret}"] }\n`,
] as const;

test('no secret that is pasted into usher.yaml is ever shown', async () => {
  await assert(
    asyncProperty(secrets, constantFrom(...places), async (secret, place) => {
      writeFileSync(join(cwd, 'usher.yaml'), place(secret));
      const loaded = await loadConfig({ env: {}, flags: {}, cwd });
      expect(loaded.ok).toBe(false);
      const told = loaded.ok ? '' : loaded.problems.map(formatConfigProblem).join('\n');
      expect(told).not.toContain(secret);
      expect(told).not.toContain(secret.slice(0, Math.max(8, secret.length / 2)));
      expect(JSON.stringify(loaded)).not.toContain(secret);
    }),
    { numRuns: 400 },
  );
});
