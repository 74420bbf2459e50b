import type { Clock } from '#base';
import type { Role } from '#cluster';
import type { FileReader } from '#knowledge';
import type { ReleaseDirectory } from '#release';
import type { Store } from '#store';
import type { Telemetry } from '#telemetry';
import type { ToolRoom } from '#tools';
import type { Vault } from '#vault';
import type { BackendPool } from './answer/backend-pool.ts';
import type { EventWriter } from './durable/event-writer.ts';
import type { LiveTurns } from './durable/live-turns.ts';
import type { TurnWatch } from './durable/turn-watch.ts';
import type { TurnLeases } from './durable/turn-leases.ts';
import type { TurnLimits } from './turn-limits.ts';
import type { UnstoredTurns } from './durable/unstored-turns.ts';

/** What a turn works with. */
export interface TurnRooms {
  /** What this node does. */
  readonly roles: ReadonlySet<Role>;
  readonly clock: Clock;
  readonly store: Store;
  readonly vault: Vault;
  readonly telemetry: Telemetry;
  readonly releases: ReleaseDirectory;
  readonly unstored: UnstoredTurns;
  readonly writer: EventWriter;
  readonly live: LiveTurns;
  readonly watch: TurnWatch;
  readonly leases: TurnLeases;
  readonly limits: TurnLimits;
  readonly tools: ToolRoom;
  /** Reads what callers send as files. */
  readonly files: FileReader;
  /** @throws UsherError `config_invalid` where no pool has that name */
  pool(name: string): BackendPool;
  /** Whether this process runs stored turns; else it hands them to those that do. */
  readonly runsTurns: boolean;
  /** Whether it could not apply what all nodes are to serve: others can run turns that it cannot. */
  lagsBehind(): boolean;
  /** A turn was put into the queue, or a conversation became free. */
  wakeWorker(): void;
  /** True once nothing new is accepted. */
  draining(): boolean;
  /** Aborts when what still runs is to be left to others. */
  readonly stopping: AbortSignal;
}
