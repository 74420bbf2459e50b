import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import type { TenantId } from '#access';
import { readSnapshot, type Snapshot } from '#cluster';
import type { ReleaseDigest } from '#release';

const digest = fc
  .uint8Array({ minLength: 32, maxLength: 32 })
  .map((bytes) => `sha256:${Buffer.from(bytes).toString('hex')}` as ReleaseDigest);
const name = fc.string({ minLength: 1 });
const list = <T>(each: fc.Arbitrary<T>, minLength = 0) => fc.array(each, { minLength, maxLength: 4 });

const snapshot: fc.Arbitrary<Snapshot> = fc.record({
  tenants: list(
    fc.record({
      id: name as unknown as fc.Arbitrary<TenantId>,
      limits: fc.record({ requestsPerMinute: fc.integer({ min: 1 }), concurrency: fc.integer({ min: 1 }) }),
      corsOrigins: list(fc.string()),
      assistants: list(
        fc.record({
          name,
          environments: list(
            fc.record({
              name,
              salt: fc.string(),
              sides: list(fc.record({ release: digest, share: fc.integer({ min: 1, max: 100 }) }), 1),
              loadedAtMs: fc.nat(),
            }),
          ),
        }),
      ),
    }),
  ),
});

/** With fields of a later version in every object. */
function grown(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(grown);
  if (typeof value !== 'object' || value === null) return value;
  const inner = Object.entries(value).map(([key, each]) => [key, grown(each)]);
  return { ...Object.fromEntries(inner), ofLaterDay: [1, { two: null }] };
}

test('a snapshot is read back as it was written, whatever a newer version has added', () => {
  fc.assert(
    fc.property(snapshot, (written) => {
      expect(readSnapshot(JSON.stringify(written))).toEqual(written);
      expect(readSnapshot(JSON.stringify(grown(written)))).toEqual(written);
    }),
  );
});

test('what is no snapshot is undefined, and never an exception', () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
      const read = readSnapshot(text);
      if (read !== undefined) expect(Array.isArray(read.tenants)).toBe(true);
    }),
  );
});
