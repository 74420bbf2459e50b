import { UsherError } from '#base';
import type { Reach } from '#access';
import { systemCalls, tenantCalls, type Call } from './operations/calls.ts';
import type { Store, SystemStore, TenantStore } from './store.ts';

/** Runs one operation on a database and settles after its commit. */
export type RunCall = (call: Call) => Promise<unknown>;

/** The Store port over whatever runs operations. */
export function storeOver(run: RunCall, close: () => Promise<void>): Store {
  const system = methods(
    systemCalls,
    (name) =>
      (...args: unknown[]) =>
        run({ name, reach: null, args }),
  );
  return {
    reach: reachOver(run),
    system: system as unknown as SystemStore,
    async probe() {
      const written = (await run({ name: 'probeWrite', reach: null, args: [] })) as number;
      const read = (await run({ name: 'probeRead', reach: null, args: [] })) as number;
      if (!(written > 0 && read >= written)) {
        throw new UsherError('storage_unavailable', 'The database does not show what was just written to it.');
      }
    },
    close,
  };
}

/** A handle is made for every request: one object over a shared prototype, not twenty closures. */
function reachOver(run: RunCall): (reach: Reach) => TenantStore {
  const prototype = methods(
    tenantCalls,
    (name) =>
      function call(this: { readonly within: Reach }, ...args: unknown[]) {
        return run({ name, reach: this.within, args });
      },
  );
  return ({ tenant, subject }) => {
    if (typeof tenant !== 'string' || tenant === '' || subject === '') {
      throw new UsherError('internal', 'The store was reached without a tenant, or with an empty subject.');
    }
    return Object.create(prototype, { within: { value: { tenant, subject } } }) as TenantStore;
  };
}

function methods<Name extends string>(calls: Readonly<Record<Name, unknown>>, make: (name: Name) => unknown): object {
  return Object.fromEntries(Object.keys(calls).map((name) => [name, make(name as Name)]));
}
