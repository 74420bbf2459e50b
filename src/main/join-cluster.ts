import { hostname } from 'node:os';
import type { Clock, Id } from '#base';
import type { Config } from '#config';
import { openPresence, type Presence } from '#control';
import type { NodeReport, Store } from '#store';
import type { Telemetry } from '#telemetry';
import type { Served } from './open-served.ts';
import { watchCluster } from './watch-cluster.ts';

/** How often a node says that it is there. */
const heartbeatMs = 1000;
/** A lone process has nobody to tell but its operator; each heartbeat is a write to the disk. */
const loneHeartbeatMs = 5000;

/** What callers and operators are told of a node that has no snapshot. */
export const notReady =
  'This node does not know yet what to serve. Start a node with the role control, or wait for it.';

/** This node among those that share the database; left when disposed. */
export interface Membership extends AsyncDisposable {
  /** Once it serves. */
  enter(): Promise<void>;
  /** As soon as it is asked to stop: it drains from here on. */
  leave(): void;
}

/** Follows what others publish from now on; the node is listed once it has entered. */
export function joinCluster(
  rooms: { readonly store: Store; readonly clock: Clock; readonly telemetry: Telemetry },
  config: Config,
  self: {
    readonly id: Id<'node'>;
    readonly version: string;
    readonly served: Served;
    readonly runningTurns: () => number;
  },
): Membership {
  const { store, clock, telemetry } = rooms;
  const { id, version, served } = self;
  const { directory, follower } = served;
  const alone = config.storage.kind === 'sqlite';
  const appliedRevision = (): number => directory.revision;
  const sweeps = config.roles.includes('control');
  const watching = watchCluster({ store, telemetry, follower, appliedRevision, alone, sweeps });
  const born = { id, roles: config.roles, version, host: hostname(), pid: process.pid, startedAtMs: clock.wallMs() };
  let state: NodeReport['state'] = 'serving';
  let presence: Presence | undefined;
  const report = (): NodeReport => ({
    ...born,
    state,
    appliedRevision: directory.revision,
    runningTurns: self.runningTurns(),
    problem: problemOf(served),
  });
  return {
    async enter() {
      presence = await openPresence({
        system: store.system,
        report,
        telemetry,
        everyMs: alone ? loneHeartbeatMs : heartbeatMs,
      });
    },
    leave() {
      state = 'draining';
      void presence?.beat();
    },
    async [Symbol.asyncDispose]() {
      watching[Symbol.dispose]();
      await presence?.[Symbol.asyncDispose]();
    },
  };
}

/** What the operator of this node should know. */
function problemOf({ directory, follower, publisher }: Served): string | null {
  if (follower.problem !== undefined) return follower.problem;
  if (directory.revision === 0) return notReady;
  return publisher?.difference() ?? null;
}
