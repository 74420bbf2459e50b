import { Readable } from 'node:stream';
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { readReply } from './read-reply.ts';

/** Nothing else that is told has these letters. */
const secret = 'SESAMEOPENSESAME';
const said = fc.oneof(fc.constant(secret), fc.constantFrom('x', 'ü', '😀', 'yyyyyyyyyyy'));

test('of a secret that is echoed nothing is told, wherever the answer is cut', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(said, { maxLength: 60 }),
      fc.integer({ min: 1, max: 600 }),
      fc.integer({ min: 1, max: 300 }),
      fc.constantFrom(200, 500),
      async (parts, bytesMax, chunkBytes, status) => {
        const bytes = Buffer.from(parts.join(''));
        const chunks = Array.from({ length: Math.ceil(bytes.byteLength / chunkBytes) }, (_, nth) =>
          bytes.subarray(nth * chunkBytes, (nth + 1) * chunkBytes),
        );
        const reply = { status, headers: { 'content-type': 'text/plain' }, body: Readable.from(chunks) };
        const told = await readReply(reply, { bytesMax, secrets: [secret] }).catch((error: Error) => error.message);
        expect(told).not.toMatch(/[SEAMOPN]/);
        if (bytes.byteLength <= bytesMax && status === 200 && bytes.byteLength > 0) {
          expect(told).toContain(parts.join('').replaceAll(secret, '•••').slice(0, 20));
        }
      },
    ),
    { numRuns: 1000 },
  );
});
