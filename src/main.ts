import { formatProblem, systemClock, UsherError } from '#base';
import { detectLocalServers } from '#backend';
import { settleModels, type Config, type Secrets } from '#config';
import {
  manageKeys,
  openAuthenticator,
  openReleaseDirectory,
  openUserTokens,
  readyMadeKey,
  watchAssistants,
  type RejectedRelease,
  type WatchOptions,
} from '#control';
import { openHttpServer, type HttpServer } from '#http';
import { openTelemetry, type Telemetry } from '#telemetry';
import { EventWriter, LiveTurns, TurnLeases, TurnLimits, TurnWorker, UnstoredTurns, type TurnRooms } from '#turn';
import { openPools, type OpenedPools } from './main/open-pools.ts';
import { openRooms } from './main/open-rooms.ts';
import { openTools } from './main/open-tools.ts';
import { serverRoutes } from './main/server-routes.ts';

export { openRooms, type OpenedRooms } from './main/open-rooms.ts';
export { serverRoutes, type RouteParts } from './main/server-routes.ts';

/** A node that serves. */
export interface RunningUsher {
  readonly url: string;
  /** The page of the first assistant. */
  readonly chatUrl: string;
  /** The ready-made key; undefined where the owner manages keys on purpose. */
  readonly apiKey: string | undefined;
  /** Which model answers, and why, in a sentence. */
  readonly models: string;
  /** Reloads assistants on save until disposed. */
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
  const { directory, rejected } = await openReleaseDirectory(
    { store, vault, clock, telemetry },
    config.tenants,
    config.pools.map((pool) => pool.name),
    (tenant) => config.tools.credentials.filter(({ tenants }) => tenants.includes(tenant)).map(({ name }) => name),
  );
  refuseRejected(rejected);
  const tools = opening.adopt(openTools(config, secrets, telemetry), (opened) => opened.close());
  const unstored = opening.adopt(new UnstoredTurns(store.system, telemetry), (buffer) => buffer.flush());
  const stopping = new AbortController();
  const leases = opening.adopt(new TurnLeases(store.system, clock, telemetry), (held) => held.close());
  const tenants = new Map(config.tenants.map((tenant) => [tenant.id, tenant]));
  const rooms: TurnRooms = {
    clock,
    store,
    vault,
    telemetry,
    unstored,
    leases,
    writer: new EventWriter(store.system, telemetry),
    live: new LiveTurns(),
    runsTurns: true,
    wakeWorker: () => worker.wake(),
    stopping: stopping.signal,
    releases: directory,
    limits: new TurnLimits(new Map(config.tenants.map((tenant) => [tenant.id, tenant.limits]))),
    tools,
    pool: (name) => pools.pool(name),
    draining: () => server.stopped,
  };
  // What still says that it runs lost its process, where this one is the only one.
  if (config.storage.kind === 'sqlite') await store.system.expireLeases('every');
  const authenticator = openAuthenticator({ system: store.system, vault, tenants, clock, telemetry });
  const models = config.models.why;
  const server = await openHttpServer({
    routes: serverRoutes({
      rooms,
      tenants: config.tenants,
      tokens: openUserTokens({ vault, tenants, clock }),
      models,
      probes: { check: () => store.probe(), isDraining: () => server.draining, telemetry },
    }),
    authenticate: (headers) => authenticator.authenticate(headers),
    telemetry,
    limits: config.limits,
    listen: config.listen,
    cors: new Map(config.tenants.map((tenant) => [tenant.id, tenant.corsOrigins])),
    clock,
  });
  const worker = opening.adopt(new TurnWorker(rooms, { eventsKeptMs }), (opened) => opened.close());
  opening.defer(() => closeServer(server, config, stopping));
  opening.use(watchPools(pools, telemetry));
  const first = config.tenants[0]!;
  const apiKey = await readyMadeKey(
    manageKeys({ system: store.system, clock }),
    first.id,
    config.dataDir,
    clock.wallMs(),
  );
  telemetry.started({ url: server.url, backends: config.backends.map((backend) => backend.name) });
  const opened = opening.move();
  return {
    url: config.listen.publicUrl ?? server.url,
    chatUrl: `${config.listen.publicUrl ?? server.url}/chat/${first.assistants[0]!.name}`,
    apiKey,
    models,
    watch: (watching) => watchAssistants(directory, watching),
    close: () => opened.disposeAsync(),
  };
}

/** Looks for a model server on this machine only where nothing else was said. */
async function settleConfig(config: Config): Promise<Config> {
  if (config.models.from !== 'undecided') return config;
  return settleModels(config, await detectLocalServers({ signal: AbortSignal.timeout(1500) }));
}

/** An assistant that does not hold must not be missed silently: the first start stops with what is wrong. */
function refuseRejected(rejected: readonly RejectedRelease[]): void {
  if (rejected.length === 0) return;
  const told = rejected.flatMap(({ problems }) => problems).map((problem) => formatProblem(problem));
  throw new UsherError('config_invalid', `${told.join('\n')}\nMend the assistant folder and start again.`);
}

/** Drains; what still runs at the deadline is left to other nodes, or to the next start. */
async function closeServer(server: HttpServer, { limits }: Config, stopping: AbortController): Promise<void> {
  const { drainMs, announceMs } = limits;
  const timer = setTimeout(() => stopping.abort(), announceMs + drainMs);
  await server.close({ drainMs, announceMs });
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
