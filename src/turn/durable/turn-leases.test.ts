import { mkdtemp, rm } from 'node:fs/promises';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { newId, systemClock, type Id } from '#base';
import type { SubjectId, TenantId } from '#access';
import type { ReleaseDigest } from '#release';
import type { Store, TenantStore } from '#store';
import { openSqliteStore } from '#store/sqlite';
import { openTelemetry, type Telemetry } from '#telemetry';
import type { Sealed } from '#vault';
import { TurnLeases, turnLeaseMs, type TurnLease } from './turn-leases.ts';

let folder: string;
let store: Store;
let telemetry: Telemetry;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'usher-leases-'));
  store = await openSqliteStore({ path: join(folder, 'usher.db') });
  telemetry = await openTelemetry({ logLevel: 'error', otel: false, serviceName: 'usher', version: '0.0.0' });
});
afterAll(async () => {
  await store.close();
  await telemetry.close();
  await rm(folder, { recursive: true, force: true });
});

const tenant = (): TenantStore => store.reach({ tenant: 'default' as TenantId, subject: null });

async function running(leases: TurnLeases): Promise<{ id: Id<'turn'>; lease: TurnLease }> {
  const id = newId('turn');
  const begunAtMs = systemClock.monotonicMs();
  await tenant().beginTurn(
    {
      id,
      subject: 'ann' as SubjectId,
      conversation: null,
      previous: null,
      assistant: 'guide',
      environment: 'production',
      release: `sha256:${'a'.repeat(64)}` as ReleaseDigest,
      settings: new Uint8Array(40) as Sealed,
      userAuthorisation: null,
      startedAtMs: Date.now(),
      owner: leases.owner,
      leaseMs: turnLeaseMs,
      background: false,
      completion: false,
      queued: false,
      repeats: { idempotency: null, body: null },
    },
    [],
  );
  return { id, lease: leases.hold(id, 1, begunAtMs, () => undefined) };
}

describe('the lease of a turn', () => {
  test.concurrent('is renewed while its node runs it, so that no sweep takes it for lost', async () => {
    const leases = new TurnLeases(store.system, systemClock, telemetry);
    const { id, lease } = await running(leases);
    await delay(turnLeaseMs + 1500);
    await store.system.claimTurns(newId('node'), turnLeaseMs, 100, 0);
    expect(await tenant().turn(id)).toMatchObject({ state: 'running' });
    expect(lease.lost.aborted).toBe(false);
    lease.release();
  });

  test.concurrent('is lost where the turn was taken away, and the others stay', async () => {
    const leases = new TurnLeases(store.system, systemClock, telemetry);
    const [taken, kept] = [await running(leases), await running(leases)];
    const lost = once(taken.lease.lost, 'abort');
    await tenant().deleteTurn(taken.id);
    await lost;
    expect(kept.lease.lost.aborted).toBe(false);
    taken.lease.release();
    kept.lease.release();
  });

  test.concurrent('ends where its node let go of the turn before it was over, while that node runs others', async () => {
    const leases = new TurnLeases(store.system, systemClock, telemetry);
    const [left, kept] = [await running(leases), await running(leases)];
    left.lease.release();
    const claimed = async (): Promise<readonly Id<'turn'>[]> =>
      (await store.system.claimTurns(newId('node'), turnLeaseMs, 100, 0)).map(({ turn }) => turn);
    const until = systemClock.monotonicMs() + 3 * turnLeaseMs;
    const taken: Id<'turn'>[] = [];
    while (!taken.includes(left.id) && systemClock.monotonicMs() < until) {
      taken.push(...(await claimed()));
      await delay(200);
    }
    expect(taken).toContain(left.id);
    expect(taken).not.toContain(kept.id);
    expect(kept.lease.isHeld()).toBe(true);
    kept.lease.release();
  });

  test.concurrent('of a turn that is being taken over holds while that takes', async () => {
    const leases = new TurnLeases(store.system, systemClock, telemetry);
    const [taken, kept] = [await running(leases), await running(leases)];
    const arrived = leases.expect(taken.id);
    taken.lease.release();
    await delay(turnLeaseMs + 1500);
    const claimed = await store.system.claimTurns(newId('node'), turnLeaseMs, 100, 0);
    expect(claimed.map(({ turn }) => turn)).not.toContain(taken.id);
    arrived();
    kept.lease.release();
  });

  test.concurrent('is given up before it ends where the database cannot be reached', async () => {
    const closed = await openSqliteStore({ path: join(folder, 'closed.db') });
    await closed.close();
    const leases = new TurnLeases(closed.system, systemClock, telemetry);
    const begunAtMs = systemClock.monotonicMs();
    const lease = leases.hold(newId('turn'), 1, begunAtMs, () => undefined);
    await once(lease.lost, 'abort');
    // The fence stands a second before the lease ends; a loaded machine may eat into that second.
    expect(systemClock.monotonicMs() - begunAtMs).toBeGreaterThanOrEqual(turnLeaseMs - 1000);
    lease.release();
  });
});
