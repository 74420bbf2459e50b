import { newId } from '#base';
import type { SubjectId, TenantId } from '#access';
import type { ReleaseDigest } from '#release';
import { openSqliteStore } from '#store/sqlite';
import type { Sealed } from '#vault';

/*
 * A process of its own on a SQLite store, started with a role and a path. `open` opens, probes and
 * closes it. `write` stores turns in tenant `killed` from several callers, without end, and sends
 * the id of each turn once it is acknowledged; it is there to be killed.
 */

const [role, path = ''] = process.argv.slice(2);
const store = await openSqliteStore({ path });

async function writeForEver(): Promise<never> {
  const tenant = store.reach({ tenant: 'killed' as TenantId, subject: null });
  const sealed = () => crypto.getRandomValues(new Uint8Array(200)) as Sealed;
  const usage = { inputTokens: 1, cachedInputTokens: 0, outputTokens: 1, reasoningTokens: 0, estimated: false };
  for (;;) {
    const id = newId('turn');
    await tenant.beginTurn(
      {
        id,
        subject: 'ann' as SubjectId,
        conversation: null,
        previous: null,
        assistant: 'guide',
        environment: 'production',
        release: 'sha256:0' as ReleaseDigest,
        settings: sealed(),
        userAuthorisation: null,
        startedAtMs: 1,
        owner: newId('node'),
        leaseMs: 60_000,
        background: false,
        completion: false,
        queued: false,
        repeats: { idempotency: null, body: null },
      },
      [{ id: newId('message'), content: sealed() }],
    );
    const finish = {
      outcome: { state: 'completed', reason: 'stop' },
      usage,
      backend: null,
      finishedAtMs: 2,
      isHeard: true,
    } as const;
    await tenant.finishTurn(id, 1, finish, [{ id: newId('message'), content: sealed() }]);
    process.send?.(id);
  }
}

if (role === 'write') await Promise.all([writeForEver(), writeForEver(), writeForEver(), writeForEver()]);
await store.probe();
await store.close();
process.send?.('opened');
process.disconnect();
