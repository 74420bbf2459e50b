import type { Attributes, Span } from '@opentelemetry/api';
import { LRUCache } from 'lru-cache';
import type { Telemetry } from './port.ts';

type TurnFinished = Parameters<Telemetry['turnFinished']>[0];
type AttemptFinished = Parameters<Telemetry['attemptFinished']>[0];

/** Traces and metrics over OTLP. */
export interface Otel {
  attemptFinished(event: AttemptFinished): void;
  turnFinished(event: TurnFinished): void;
  /** Sends what is left. Never rejects: a receiver that is gone must not hold up a stop. */
  close(): Promise<void>;
}

interface Attempt extends AttemptFinished {
  readonly endedAtMs: number;
}

/** Turns whose attempts are kept until they end; a turn that loses its attempts loses only their spans. */
const turnsMax = 20_000;
const closeTimeoutMs = 3000;

/** Buckets as the GenAI semantic conventions lay them down. */
const secondsBuckets = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92];
const firstChunkBuckets = [0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10];
const tokenBuckets = Array.from({ length: 14 }, (_, power) => 4 ** power);

/** The format of what we send is our own, whichever server answered behind it. */
const provider = { 'gen_ai.provider.name': 'usher' };

/**
 * Opens the OTLP exporters, which read their endpoint, headers, time-outs and TLS files from the
 * usual `OTEL_*` variables. Loaded only where asked for: the packages take 100 ms and 11 MB.
 * Names are those of the OpenTelemetry GenAI semantic conventions, without any content.
 */
export async function openOtel(serviceName: string, version: string): Promise<Otel> {
  const { tracer, meter, shutdown, context } = await openProviders(serviceName, version);
  const instruments = {
    operation: meter.createHistogram('gen_ai.client.operation.duration', {
      unit: 's',
      advice: { explicitBucketBoundaries: secondsBuckets },
    }),
    firstChunk: meter.createHistogram('gen_ai.client.operation.time_to_first_chunk', {
      unit: 's',
      advice: { explicitBucketBoundaries: firstChunkBuckets },
    }),
    tokens: meter.createHistogram('gen_ai.client.token.usage', {
      unit: '{token}',
      advice: { explicitBucketBoundaries: tokenBuckets },
    }),
  };
  const attempts = new LRUCache<string, Attempt[]>({ max: turnsMax });

  function traceAttempt(attempt: Attempt, turn: TurnFinished, parent: Span): void {
    const attributes = callAttributes(turn, attempt);
    instruments.operation.record(attempt.durationMs / 1000, attributes);
    if (attempt.firstTokenMs !== undefined) instruments.firstChunk.record(attempt.firstTokenMs / 1000, attributes);
    const span = tracer.startSpan(
      `chat ${turn.model ?? attempt.backend}`,
      {
        kind: context.clientKind,
        startTime: attempt.endedAtMs - attempt.durationMs,
        attributes: { ...attributes, 'usher.backend': attempt.backend },
      },
      context.under(parent),
    );
    if (attempt.result !== 'answered') span.setStatus({ code: context.errorStatus });
    span.end(attempt.endedAtMs);
  }

  return {
    attemptFinished(event) {
      const known = attempts.get(event.turn) ?? [];
      known.push({ ...event, endedAtMs: Date.now() });
      attempts.set(event.turn, known);
    },
    turnFinished(turn) {
      const span = tracer.startSpan(`invoke_agent ${turn.assistant}`, {
        startTime: turn.startedAtMs,
        attributes: turnAttributes(turn),
      });
      for (const attempt of attempts.get(turn.turn) ?? []) traceAttempt(attempt, turn, span);
      attempts.delete(turn.turn);
      const metricAttributes = { ...provider, 'gen_ai.operation.name': 'chat', ...modelOf(turn) };
      const { inputTokens, outputTokens } = turn.usage;
      instruments.tokens.record(inputTokens, { ...metricAttributes, 'gen_ai.token.type': 'input' });
      instruments.tokens.record(outputTokens, { ...metricAttributes, 'gen_ai.token.type': 'output' });
      if (turn.state === 'failed') span.setStatus({ code: context.errorStatus });
      span.end(turn.startedAtMs + turn.durationMs);
    },
    close: shutdown,
  };
}

async function openProviders(serviceName: string, version: string) {
  const [api, trace, metrics, resources, { OTLPTraceExporter }, { OTLPMetricExporter }] = await Promise.all([
    import('@opentelemetry/api'),
    import('@opentelemetry/sdk-trace'),
    import('@opentelemetry/sdk-metrics'),
    import('@opentelemetry/resources'),
    import('@opentelemetry/exporter-trace-otlp-http'),
    import('@opentelemetry/exporter-metrics-otlp-http'),
  ]);
  const own = resources.resourceFromAttributes({ 'service.name': serviceName, 'service.version': version });
  const given = resources.detectResources({ detectors: [resources.envDetector] });
  const resource = resources.defaultResource().merge(own).merge(given);
  const tracers = new trace.TracerProvider({
    resource,
    spanProcessors: [new trace.BatchSpanProcessor({ exporter: new OTLPTraceExporter() })],
  });
  const meters = new metrics.MeterProvider({
    resource,
    readers: [new metrics.PeriodicExportingMetricReader({ exporter: new OTLPMetricExporter() })],
  });
  return {
    tracer: tracers.getTracer('usher', version),
    meter: meters.getMeter('usher', version),
    context: {
      clientKind: api.SpanKind.CLIENT,
      errorStatus: api.SpanStatusCode.ERROR,
      under: (span: Span) => api.trace.setSpan(api.ROOT_CONTEXT, span),
    },
    shutdown: async () => {
      const sent = Promise.allSettled([tracers.shutdown(), meters.shutdown()]);
      let timer: NodeJS.Timeout | undefined;
      const late = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, closeTimeoutMs);
      });
      await Promise.race([sent, late]);
      clearTimeout(timer);
    },
  };
}

function modelOf(turn: TurnFinished): Attributes {
  return turn.model === undefined ? {} : { 'gen_ai.request.model': turn.model };
}

function callAttributes(turn: TurnFinished, attempt: Attempt): Attributes {
  const failed = attempt.result !== 'answered';
  return {
    ...provider,
    'gen_ai.operation.name': 'chat',
    ...modelOf(turn),
    ...(failed && { 'error.type': attempt.result }),
  };
}

function turnAttributes(turn: TurnFinished): Attributes {
  return {
    ...provider,
    'gen_ai.operation.name': 'invoke_agent',
    'gen_ai.agent.name': turn.assistant,
    'gen_ai.agent.version': turn.release,
    'gen_ai.response.id': turn.turn,
    ...modelOf(turn),
    'gen_ai.usage.input_tokens': turn.usage.inputTokens,
    'gen_ai.usage.output_tokens': turn.usage.outputTokens,
    'gen_ai.usage.cache_read.input_tokens': turn.usage.cachedInputTokens,
    'gen_ai.usage.reasoning.output_tokens': turn.usage.reasoningTokens,
    'usher.tenant': turn.tenant,
    'usher.environment': turn.environment,
    'usher.turn.state': turn.state,
    ...(turn.backend !== null && { 'usher.backend': turn.backend }),
    ...(turn.firstTokenMs !== undefined && { 'usher.turn.first_token_ms': turn.firstTokenMs }),
    ...(turn.code !== undefined && { 'error.type': turn.code }),
  };
}
