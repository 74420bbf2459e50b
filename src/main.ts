import { systemClock, UsherError } from '#base';
import { detectLocalServers } from '#backend';
import { settleModels, type Config, type Secrets } from '#config';
import {
  manageKeys,
  openAuthenticator,
  openUserTokens,
  readyMadeKey,
  watchAssistants,
  type WatchOptions,
} from '#control';
import { openHttpServer, type EmbeddingModels, type HttpServer } from '#http';
import { FileReader } from '#knowledge';
import type { Store } from '#store';
import { openTelemetry, type Telemetry } from '#telemetry';
import {
  EventWriter,
  LiveTurns,
  TurnLeases,
  TurnLimits,
  TurnWatch,
  TurnWorker,
  UnstoredTurns,
  type TurnRooms,
} from '#turn';
import { joinCluster, notReady } from './main/join-cluster.ts';
import { openEmbeddings } from './main/open-embeddings.ts';
import { openPools, type OpenedPools } from './main/open-pools.ts';
import { openRooms } from './main/open-rooms.ts';
import { callsModels, openServed, type Served } from './main/open-served.ts';
import { openTools } from './main/open-tools.ts';
import { serverRoutes } from './main/server-routes.ts';

export { openRooms, type OpenedRooms } from './main/open-rooms.ts';
export { folderMeansOf } from './main/open-served.ts';
export { serverRoutes, type RouteParts } from './main/server-routes.ts';

/** A node that serves. */
export interface RunningUsher {
  readonly url: string;
  /** The page of the first assistant; undefined on a node that serves no pages, or does not know yet which. */
  readonly chatUrl: string | undefined;
  /** The ready-made key; undefined where the owner manages keys on purpose. */
  readonly apiKey: string | undefined;
  /** Which model answers, and why, in a sentence. */
  readonly models: string;
  /** Reloads assistants on save until disposed. @throws UsherError `config_invalid` on a node that reads no folders */
  watch(options: WatchOptions): Promise<AsyncDisposable>;
  /** Drains what runs, up to the configured deadline, then closes every room. */
  close(): Promise<void>;
}

const poolsEveryMs = 1000;
/** How long a response can be streamed again after it was made. */
const eventsKeptMs = 24 * 3_600_000;

/** Config -> rooms -> wires -> a server that answers. @throws UsherError with the mend */
export async function openUsher(options: {
  readonly config: Config;
  readonly secrets: Secrets;
  readonly version: string;
}): Promise<RunningUsher> {
  const { secrets, version } = options;
  const config = await settleConfig(options.config);
  const clock = systemClock;
  await using opening = new AsyncDisposableStack();
  const telemetry = opening.adopt(
    await openTelemetry({ ...config.telemetry, serviceName: 'usher', version }),
    (opened) => opened.close(),
  );
  opening.use(surviveRejections(telemetry));
  const { store, vault } = opening.use(await openRooms(config, secrets, { owner: true }));
  const pools = opening.use(await openPools(config, secrets));
  const embeddings = opening.use(await openEmbeddings(config, secrets)).models;
  const leases = opening.adopt(new TurnLeases(store.system, clock, telemetry), (held) => held.close());
  const served = opening.use(
    await openServed({ store, vault, clock, telemetry, embeddings, owner: leases.owner }, config),
  );
  const { directory } = served;
  const tools = opening.adopt(openTools(config, secrets, telemetry), (opened) => opened.close());
  const unstored = opening.adopt(new UnstoredTurns(store.system, telemetry), (buffer) => buffer.flush());
  const stopping = new AbortController();
  const live = new LiveTurns();
  const wakeWorker = (): void => worker?.wake();
  const rooms: TurnRooms = {
    roles: new Set(config.roles),
    clock,
    store,
    vault,
    telemetry,
    unstored,
    leases,
    writer: new EventWriter(store.system, telemetry),
    live,
    watch: new TurnWatch(store.system, live, telemetry, clock),
    runsTurns: config.roles.includes('worker'),
    lagsBehind: () => served.follower.problem !== undefined,
    wakeWorker,
    stopping: stopping.signal,
    releases: directory,
    limits: new TurnLimits((tenant) => directory.limitsOf(tenant), wakeWorker),
    tools,
    files: opening.adopt(new FileReader(), (reader) => reader.close()),
    pool: (name) => pools.pool(name),
    draining: () => server.stopped,
  };
  if (config.storage.kind === 'sqlite') await forgetOtherProcesses(store);
  const models = config.models.why;
  // Left after the server has closed, so that a node which drains is seen as such to its end.
  const membership = opening.use(
    joinCluster(rooms, config, {
      id: leases.owner,
      version,
      served,
      runningTurns: () => Math.max(leases.count, rooms.limits.running),
    }),
  );
  const server = await openEdge(rooms, config, {
    directory,
    embeddings,
    models,
    isDraining: () => server.draining,
  });
  const worker = rooms.runsTurns ? new TurnWorker(rooms, { eventsKeptMs }) : undefined;
  opening.defer(() => worker?.close());
  opening.defer(() => closeServer(server, config, { stopping, live: rooms.live }));
  opening.use(watchPools(pools, telemetry));
  await membership.enter();
  const apiKey = await ownKey(config, store);
  telemetry.started({ url: server.url, backends: config.backends.map((backend) => backend.name) });
  const opened = opening.move();
  const url = config.listen.publicUrl ?? server.url;
  return {
    url,
    chatUrl: rooms.roles.has('gateway') ? chatUrlOf(url, directory) : undefined,
    apiKey,
    models,
    watch: async (watching) => {
      if (served.publisher === undefined) throw new UsherError('config_invalid', noFolders);
      return watchAssistants(served.publisher, watching);
    },
    close: async () => {
      membership.leave();
      await opened.disposeAsync();
    },
  };
}

/** The port that this node answers on. */
function openEdge(
  rooms: TurnRooms,
  config: Config,
  {
    directory,
    embeddings,
    models,
    isDraining,
  }: {
    readonly directory: Served['directory'];
    readonly embeddings: EmbeddingModels;
    readonly models: string;
    readonly isDraining: () => boolean;
  },
): Promise<HttpServer> {
  const { store, vault, clock, telemetry } = rooms;
  const authenticator = openAuthenticator({ system: store.system, vault, tenants: directory, clock, telemetry });
  return openHttpServer({
    routes: serverRoutes({
      rooms,
      embeddings,
      tokens: openUserTokens({ vault, tenants: directory, clock }),
      models,
      probes: {
        check: () => store.probe(),
        isDraining,
        isPrepared: () => directory.revision > 0,
        telemetry,
      },
    }),
    authenticate: async (headers) => {
      if (directory.revision === 0) throw new UsherError('not_ready', notReady, { retryAfterMs: 1000 });
      return authenticator.authenticate(headers);
    },
    telemetry,
    limits: config.limits,
    listen: config.listen,
    cors: () => directory.corsOrigins,
    clock,
  });
}

const noFolders =
  'This node reads no assistant folders, since it has not the role control. Edit them where a control node runs.';

function chatUrlOf(url: string, directory: Served['directory']): string | undefined {
  const [tenant] = directory.tenants();
  const [first] = tenant === undefined ? [] : directory.list(tenant);
  return first && `${url}/chat/${first.assistant}`;
}

/** What still says that it runs lost its process, where this one is the only one. */
async function forgetOtherProcesses({ system }: Store): Promise<void> {
  await system.expireLeases('every');
  await system.removeSilentNodes(0);
}

/** The key of a first start, made where the tenants are declared. */
async function ownKey(config: Config, store: Store): Promise<string | undefined> {
  const [first] = config.tenants;
  if (!config.roles.includes('control') || first === undefined) return undefined;
  const keys = manageKeys({ system: store.system, clock: systemClock });
  return readyMadeKey(keys, first.id, config.dataDir, systemClock.wallMs());
}

const workersAnswer = 'those of the worker nodes';

/** Looks for a model server on this machine only where nothing else was said, and where models are called. */
async function settleConfig(config: Config): Promise<Config> {
  if (config.models.from !== 'undecided') return config;
  if (!callsModels(config)) return { ...config, models: { ...config.models, why: workersAnswer } };
  return settleModels(config, await detectLocalServers({ signal: AbortSignal.timeout(1500) }));
}

/** Drains; what still runs at the deadline is left to other nodes, or to the next start. */
async function closeServer(
  server: HttpServer,
  { limits }: Config,
  { stopping, live }: { readonly stopping: AbortController; readonly live: LiveTurns },
): Promise<void> {
  const { drainMs, announceMs } = limits;
  const timer = setTimeout(() => stopping.abort(), announceMs + drainMs);
  await server.close({ drainMs, announceMs });
  // Nobody hears a background turn here, nor anything that a worker runs; they are answers under way all the same.
  await live.quiet(stopping.signal);
  clearTimeout(timer);
  stopping.abort();
}

/** A promise that nobody waits for must not end the process: it is a defect of ours, told and survived. */
function surviveRejections(telemetry: Telemetry): Disposable {
  const report = (error: unknown): void => telemetry.unexpected({ where: 'unhandled rejection', error });
  process.on('unhandledRejection', report);
  return { [Symbol.dispose]: () => process.off('unhandledRejection', report) };
}

/** What each pool knows of its backends, for `/metrics`. */
function watchPools(pools: OpenedPools, telemetry: Telemetry): Disposable {
  const timer = setInterval(() => {
    for (const pool of pools.pools) {
      for (const { name, breaker, inFlight } of pool.members()) {
        telemetry.backendState({ pool: pool.name, backend: name, breaker, inFlight });
      }
    }
  }, poolsEveryMs);
  return { [Symbol.dispose]: () => clearInterval(timer) };
}
