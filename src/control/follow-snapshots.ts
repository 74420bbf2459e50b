import type { Clock, Id } from '#base';
import type { SnapshotRow, SystemStore } from '#store';
import type { Telemetry } from '#telemetry';
import { openOutage } from './outage.ts';
import type { SnapshotDirectory } from './snapshot-directory.ts';

export interface FollowerParts {
  readonly system: Pick<SystemStore, 'snapshot' | 'snapshotRevision'>;
  readonly directory: SnapshotDirectory;
  readonly clock: Clock;
  readonly telemetry: Pick<Telemetry, 'snapshotApplied' | 'snapshotRefused' | 'storeFailed' | 'unexpected'>;
}

/** Which snapshot is the newest, without its content. */
export interface SnapshotMark {
  readonly revision: number;
  readonly digest: string;
  readonly publishedBy: Id<'node'>;
}

/** One that could not be applied is tried again, in case it was for a reason that passes. */
const retryEveryMs = 5000;

/** Keeps the directory at the newest snapshot that this node can serve. */
export class SnapshotFollower {
  readonly #parts: FollowerParts;
  #newest: SnapshotMark | undefined;
  #refused: { readonly revision: number; readonly reason: string; readonly atMs: number } | undefined;
  #running: Promise<unknown> = Promise.resolve();

  constructor(parts: FollowerParts) {
    this.#parts = parts;
  }

  /** The newest that was seen, applied or not. */
  get newest(): SnapshotMark | undefined {
    return this.#newest;
  }

  /** Why the newest is not applied here, in a sentence. */
  get problem(): string | undefined {
    return this.#refused?.reason;
  }

  /** Applies the newest snapshot where it is not the one that serves. One at a time. @throws UsherError of the store */
  catchUp(): Promise<void> {
    const caughtUp = this.#running.then(() => this.#catchUp());
    this.#running = caughtUp.catch(() => undefined);
    return caughtUp;
  }

  /** Looks again and again until it is disposed. A store that is away is told once, and asked on. */
  follow(everyMs: number): Disposable {
    const outage = openOutage(this.#parts.telemetry, 'snapshotRevision');
    let timer: NodeJS.Timeout | undefined;
    let ended = false;
    const look = async (): Promise<void> => {
      await outage.during(() => this.catchUp());
      if (!ended) timer = setTimeout(() => void look(), everyMs);
    };
    timer = setTimeout(() => void look(), everyMs);
    return {
      [Symbol.dispose]: () => {
        ended = true;
        clearTimeout(timer);
      },
    };
  }

  async #catchUp(): Promise<void> {
    const { system, directory, clock } = this.#parts;
    const revision = await system.snapshotRevision();
    if (revision === directory.revision && this.#newest?.revision === revision) return;
    const refused = this.#refused?.revision === revision ? this.#refused : undefined;
    if (refused !== undefined && clock.monotonicMs() - refused.atMs < retryEveryMs) return;
    const row = await system.snapshot();
    if (row === undefined) return;
    this.#newest = { revision: row.revision, digest: row.digest, publishedBy: row.publishedBy };
    await this.#apply(row);
  }

  async #apply(row: SnapshotRow): Promise<void> {
    const { directory, clock, telemetry } = this.#parts;
    const { revision, publishedBy } = row;
    const applied = await directory.apply(row);
    if (applied.result === 'applied') {
      this.#refused = undefined;
      telemetry.snapshotApplied({ revision, publishedBy });
      return;
    }
    const { reason } = applied;
    if (this.#refused?.revision !== revision) telemetry.snapshotRefused({ revision, publishedBy, reason });
    this.#refused = { revision, reason, atMs: clock.monotonicMs() };
  }
}
