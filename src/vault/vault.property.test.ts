import { randomBytes } from 'node:crypto';
import * as fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import type { SubjectId, TenantId } from '#access';
import { memoryKeyStore } from './memory-key-store.fixture.ts';
import { openVault } from './open-vault.ts';
import { openRootKeys } from './root-keys.ts';
import type { SubjectVault, Vault } from './port.ts';

const name = fc.string({ unit: 'binary', maxLength: 20 }).filter((text) => text.isWellFormed());
const place = fc.record({ table: name, row: name });
const content = fc.uint8Array({ maxLength: 300 });
const damaged = expect.objectContaining({ code: 'data_damaged' });

let vault: Vault;
let subject: SubjectVault;
beforeAll(async () => {
  const roots = await openRootKeys({ dataDir: '/nowhere', given: [randomBytes(32)], hasTenantKeys: false });
  vault = openVault({ keys: memoryKeyStore(), roots });
  subject = await vault.subject('tenant' as TenantId, 'subject' as SubjectId);
});

describe('whatever is sealed', () => {
  test('comes back whole at its own place', () => {
    fc.assert(
      fc.property(place, content, (at, bytes) => {
        expect(subject.open(at, subject.seal(at, bytes))).toEqual(Buffer.from(bytes));
      }),
    );
  });

  test('is refused when any one bit is flipped', () => {
    fc.assert(
      fc.property(place, content, fc.nat(), (at, bytes, pick) => {
        const sealed = Buffer.from(subject.seal(at, bytes));
        const bit = pick % (sealed.length * 8);
        sealed[bit >> 3]! ^= 1 << (bit & 7);
        expect(() => subject.open(at, sealed)).toThrow(damaged);
      }),
    );
  });

  test('is refused at any other place', () => {
    fc.assert(
      fc.property(place, place, content, (at, elsewhere, bytes) => {
        fc.pre(at.table !== elsewhere.table || at.row !== elsewhere.row);
        expect(() => subject.open(elsewhere, subject.seal(at, bytes))).toThrow(damaged);
      }),
    );
  });

  test('is refused when characters move between the table and the row', () => {
    fc.assert(
      fc.property(name, fc.nat({ max: 20 }), fc.nat({ max: 20 }), (text, one, two) => {
        const split = (at: number) => ({ table: text.slice(0, at), row: text.slice(at) });
        const [here, there] = [split(one), split(two)];
        fc.pre(here.table !== there.table);
        fc.pre([here, there].every(({ table, row }) => table.isWellFormed() && row.isWellFormed()));
        expect(() => subject.open(there, subject.seal(here, 'content'))).toThrow(damaged);
      }),
    );
  });

  test('opens under no other tenant and subject', async () => {
    await fc.assert(
      fc.asyncProperty(name, name, name, name, async (tenant, person, otherTenant, otherPerson) => {
        fc.pre(tenant !== otherTenant || person !== otherPerson);
        const owner = await vault.subject(tenant as TenantId, person as SubjectId);
        const other = await vault.subject(otherTenant as TenantId, otherPerson as SubjectId);
        const sealed = owner.seal({ table: 'items', row: '1' }, 'content');
        expect(() => other.open({ table: 'items', row: '1' }, sealed)).toThrow(damaged);
      }),
    );
  });
});
