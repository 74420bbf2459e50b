import { pino, type DestinationStream, type Logger } from 'pino';
import { UsherError } from '#base';
import { openOtel, type Otel } from './open-otel.ts';
import { openRegistry, type Instruments } from './open-registry.ts';
import type { Telemetry } from './port.ts';

export interface TelemetryOptions {
  readonly logLevel: 'debug' | 'info' | 'warn' | 'error';
  /** Where log lines go instead of standard error. */
  readonly logTo?: DestinationStream;
  /** Traces and metrics over OTLP, as the `OTEL_*` variables say. */
  readonly otel: boolean;
  readonly serviceName: string;
  readonly version: string;
}

/** Log lines that may wait for whoever reads them; beyond, they are dropped rather than memory filled. */
const logBytesMax = 4_194_304;

/**
 * Opens logs, metrics and, where asked for, traces. What went well is logged at `debug`, since a
 * line costs as much as the rest of an event: metrics and traces tell of it. What was refused is
 * `info`, what failed `warn`, what is a defect `error`.
 */
export async function openTelemetry(options: TelemetryOptions): Promise<Telemetry> {
  const destination = options.logTo ?? standardError();
  const log = pino(
    { level: options.logLevel, base: { service: options.serviceName }, timestamp: pino.stdTimeFunctions.isoTime },
    destination,
  );
  const { registry, instruments } = openRegistry(options.version);
  const otel = options.otel ? await openOtel(options.serviceName, options.version) : undefined;
  return {
    ...edgeEvents(log, instruments),
    ...turnEvents(log, instruments, otel),
    ...toolEvents(log, instruments),
    ...knowledgeEvents(log, instruments),
    ...stateEvents(log, instruments),
    ...clusterEvents(log, instruments),
    metrics: async () => ({ contentType: registry.contentType, body: await registry.metrics() }),
    close: async () => {
      await otel?.close();
      registry.clear();
      await new Promise<void>((resolve) => log.flush(() => resolve()));
    },
  };
}

/** Not synchronous: a stuck reader of our log must not stop the service. */
function standardError(): DestinationStream {
  return pino.destination({ dest: 2, sync: false, maxLength: logBytesMax });
}

type EdgeEvents = Pick<Telemetry, 'requestFinished' | 'connectionRefused' | 'keyRejected' | 'unexpected'>;

function edgeEvents(log: Logger, instruments: Instruments): EdgeEvents {
  return {
    requestFinished(event) {
      const { method, route, status, durationMs } = event;
      instruments.requests.inc({ method, route, status });
      instruments.requestSeconds.observe({ route }, durationMs / 1000);
      if (status >= 500) log.warn(event, 'request failed');
      else if (status >= 400 && status !== 499) log.info(event, 'request refused');
      else log.debug(event, 'request finished');
    },
    connectionRefused({ reason }) {
      instruments.refusals.inc({ reason });
      log.info({ reason }, 'connection refused');
    },
    keyRejected({ reason }) {
      instruments.keyRejections.inc({ reason });
      log.info({ reason }, 'credential rejected');
    },
    unexpected({ where, error, requestId }) {
      instruments.defects.inc({ where });
      log.error({ where, requestId, ...defectOf(error) }, 'unexpected error');
    },
  };
}

function turnEvents(
  log: Logger,
  instruments: Instruments,
  otel: Otel | undefined,
): Pick<Telemetry, 'turnFinished' | 'attemptFinished' | 'staleWriteRefused' | 'turnTaken' | 'handover' | 'compacted'> {
  return {
    staleWriteRefused(event) {
      instruments.staleWrites.inc({ result: 'refused' });
      log.warn(event, 'stale write refused');
    },
    turnTaken(event) {
      instruments.takeovers.inc({ assistant: event.assistant });
      log.info(event, 'turn taken over');
    },
    handover(event) {
      instruments.handovers.inc(event);
      log.info(event, 'handover');
    },
    compacted(event) {
      const { assistant, result } = event;
      instruments.compactions.inc({ assistant, result });
      if (result === 'failed') log.warn(event, 'conversation not compacted');
      else log.info(event, 'conversation compacted');
    },
    turnFinished(event) {
      const { tenant, assistant, environment, state, code = '' } = event;
      instruments.turns.inc({ tenant, assistant, environment, state, code });
      instruments.turnSeconds.observe({ assistant, environment }, event.durationMs / 1000);
      if (event.firstTokenMs !== undefined) {
        instruments.firstTokenSeconds.observe({ assistant, environment }, event.firstTokenMs / 1000);
      }
      countTokens(instruments, event);
      otel?.turnFinished(event);
      if (state === 'failed') log.warn(event, 'turn failed');
      else log.debug(event, 'turn finished');
    },
    attemptFinished(event) {
      const { backend, result } = event;
      instruments.attempts.inc({ backend, result });
      instruments.attemptSeconds.observe({ backend }, event.durationMs / 1000);
      if (event.firstTokenMs !== undefined) {
        instruments.attemptFirstTokenSeconds.observe({ backend }, event.firstTokenMs / 1000);
      }
      otel?.attemptFinished(event);
      if (result === 'answered') log.debug(event, 'attempt finished');
      else log.info(event, 'attempt failed');
    },
  };
}

function toolEvents(log: Logger, instruments: Instruments): Pick<Telemetry, 'toolCalled' | 'toolsMissing'> {
  return {
    toolCalled(event) {
      const { assistant, source, tool, result } = event;
      instruments.toolCalls.inc({ assistant, source, tool, result });
      instruments.toolSeconds.observe({ assistant, source }, event.durationMs / 1000);
      if (result === 'done') log.debug(event, 'tool called');
      else log.info(event, 'tool failed');
    },
    toolsMissing(event) {
      instruments.toolsMissing.inc({ assistant: event.assistant, source: event.source });
      log.warn(event, 'tools missing');
    },
  };
}

function knowledgeEvents(
  log: Logger,
  instruments: Instruments,
): Pick<Telemetry, 'embeddingFinished' | 'knowledgeRead' | 'knowledgeEmbedded' | 'knowledgeUnembedded'> {
  return {
    knowledgeRead: (event) => log.info(event, 'knowledge read'),
    knowledgeEmbedded: (event) => log.info(event, 'knowledge embedded'),
    knowledgeUnembedded: (event) =>
      log.warn(event, 'knowledge not embedded; it is found by its words alone, and embedding is tried again'),
    embeddingFinished(event) {
      const { tenant, model, result } = event;
      instruments.embeddings.inc({ tenant, model, result });
      instruments.embeddingTokens.inc({ tenant, model }, event.inputTokens);
      instruments.embeddingSeconds.observe({ model }, event.durationMs / 1000);
      if (result === 'done') log.debug(event, 'texts embedded');
      else if (result === 'refused' || result === 'aborted') log.info(event, 'embedding refused');
      else log.warn(event, 'embedding failed');
    },
  };
}

function countTokens(instruments: Instruments, event: Parameters<Telemetry['turnFinished']>[0]): void {
  const { tenant, assistant, usage } = event;
  const counts = {
    input: usage.inputTokens,
    cached_input: usage.cachedInputTokens,
    output: usage.outputTokens,
    reasoning: usage.reasoningTokens,
  };
  for (const [type, count] of Object.entries(counts)) {
    if (count > 0) instruments.tokens.inc({ tenant, assistant, type }, count);
  }
}

type StateEvents = Pick<
  Telemetry,
  'started' | 'stopping' | 'backendState' | 'releaseLoaded' | 'releaseRejected' | 'storeFailed'
>;

function stateEvents(log: Logger, instruments: Instruments): StateEvents {
  const breakers = new Map<string, string>();
  return {
    started: (event) => log.info(event, 'started'),
    stopping: (event) => log.info(event, 'stopping'),
    backendState(event) {
      const { pool, backend, breaker } = event;
      instruments.inFlight.set({ pool, backend }, event.inFlight);
      const key = `${pool}/${backend}`;
      if (breakers.get(key) === breaker) return;
      for (const state of ['closed', 'open', 'probing']) {
        instruments.breaker.set({ pool, backend, state }, state === breaker ? 1 : 0);
      }
      if (breakers.has(key) || breaker !== 'closed') log.warn({ pool, backend, breaker }, 'breaker moved');
      breakers.set(key, breaker);
    },
    releaseLoaded(event) {
      const { assistant, environment } = event;
      instruments.releases.inc({ assistant, result: 'loaded' });
      instruments.passages.set({ assistant, environment }, event.passages);
      log.info(event, 'release loaded');
    },
    releaseRejected(event) {
      instruments.releases.inc({ assistant: event.assistant, result: 'rejected' });
      // `dev` tells the person who edits; a warning would say it twice on their terminal.
      const { servesOn, ...told } = event;
      log.info(told, servesOn ? 'release rejected; the last good one serves on' : 'release rejected');
    },
    storeFailed(event) {
      instruments.storeFailures.inc(event);
      log.error(event, 'store failed');
    },
  };
}

type ClusterEvents = Pick<Telemetry, 'snapshotApplied' | 'snapshotRefused' | 'foldersDiffer' | 'clusterSeen'>;

function clusterEvents(log: Logger, instruments: Instruments): ClusterEvents {
  return {
    snapshotApplied(event) {
      instruments.snapshots.inc({ result: 'applied' });
      instruments.snapshotRevision.set({ which: 'applied' }, event.revision);
      log.info(event, 'snapshot applied');
    },
    snapshotRefused(event) {
      instruments.snapshots.inc({ result: 'refused' });
      log.warn(event, 'snapshot refused; the last good one serves on');
    },
    foldersDiffer: (event) => log.warn(event, 'the folders of this node differ from those of another control node'),
    clusterSeen({ nodes, appliedRevision, newestRevision }) {
      for (const [state, count] of Object.entries(nodes)) instruments.nodes.set({ state }, count);
      instruments.snapshotRevision.set({ which: 'applied' }, appliedRevision);
      instruments.snapshotRevision.set({ which: 'newest' }, newestRevision);
    },
  };
}

interface Defect {
  readonly name: string;
  readonly code?: string;
  readonly stack: readonly string[];
  readonly cause?: Defect;
}

/** How many causes of causes are told. */
const causesMax = 4;

/**
 * Where it happened, and never what was said: messages of errors that are not ours may quote
 * content (`JSON.parse` does), so that only the frames of their stack are kept.
 */
function defectOf(error: unknown, depth = 0): Defect {
  if (!(error instanceof Error)) return { name: typeof error, stack: [] };
  const code: unknown = 'code' in error ? error.code : undefined;
  const stack = (error.stack ?? '').split('\n').filter((line) => /^\s+at /.test(line));
  return {
    name: error instanceof UsherError ? `${error.name}: ${error.message}` : error.name,
    ...(typeof code === 'string' && { code }),
    stack: stack.map((line) => line.trim()),
    ...(error.cause !== undefined && depth < causesMax && { cause: defectOf(error.cause, depth + 1) }),
  };
}
