import type { NodeReport, SystemStore } from '#store';
import type { Telemetry } from '#telemetry';
import { openOutage } from './outage.ts';

export interface PresenceParts {
  readonly system: Pick<SystemStore, 'putNode' | 'removeNode'>;
  readonly report: () => NodeReport;
  readonly telemetry: Pick<Telemetry, 'storeFailed' | 'unexpected'>;
  readonly everyMs: number;
}

/** A node's row among the nodes. */
export interface Presence extends AsyncDisposable {
  /** Says at once what changed; never fails. */
  beat(): Promise<void>;
}

/**
 * Tells the other nodes of this one until it is disposed, and then that it has left. One that ends
 * without leaving counts as gone once it was silent for long enough.
 */
export async function openPresence({ system, report, telemetry, everyMs }: PresenceParts): Promise<Presence> {
  const outage = openOutage(telemetry, 'putNode');
  let running: Promise<unknown> = Promise.resolve();
  const beat = (): Promise<void> => {
    const told = running.then(() => outage.during(() => system.putNode(report())));
    running = told;
    return told.then(() => undefined);
  };
  await beat();
  let waiting = false;
  const timer = setInterval(() => {
    // A store that hangs is not asked again and again.
    if (waiting) return;
    waiting = true;
    void beat().finally(() => {
      waiting = false;
    });
  }, everyMs);
  return {
    beat,
    async [Symbol.asyncDispose]() {
      clearInterval(timer);
      await running;
      await openOutage(telemetry, 'removeNode').during(() => system.removeNode(report().id));
    },
  };
}
