import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { UsherError } from '#base';
import type { TenantId } from '#access';
import type { ReleaseDigest } from '#release';
import { metricDescriptions, openTelemetry, type Telemetry } from '#telemetry';

const turn: Parameters<Telemetry['turnFinished']>[0] = {
  turn: 'turn_1',
  tenant: 'default' as TenantId,
  assistant: 'guide',
  environment: 'production',
  release: 'sha256:abc' as ReleaseDigest,
  backend: 'main',
  model: 'gpt-4.1-mini',
  state: 'completed',
  code: undefined,
  usage: { inputTokens: 120, cachedInputTokens: 64, outputTokens: 30, reasoningTokens: 0, estimated: false },
  startedAtMs: 1_700_000_000_000,
  firstTokenMs: 80,
  durationMs: 900,
};
const request: Parameters<Telemetry['requestFinished']>[0] = {
  requestId: 'req_1',
  method: 'POST',
  route: '/v1/responses',
  status: 200,
  durationMs: 12,
  bytesOut: 100,
  code: undefined,
};

interface Opened {
  readonly telemetry: Telemetry;
  readonly lines: Record<string, unknown>[];
}

const opened: Telemetry[] = [];
afterEach(async () => {
  for (const telemetry of opened.splice(0)) await telemetry.close();
});

async function open(logLevel: 'debug' | 'info' = 'info', otel = false): Promise<Opened> {
  const lines: Record<string, unknown>[] = [];
  const logTo = { write: (line: string) => void lines.push(JSON.parse(line) as Record<string, unknown>) };
  const telemetry = await openTelemetry({ logLevel, logTo, otel, serviceName: 'usher', version: '1.2.3' });
  opened.push(telemetry);
  return { telemetry, lines };
}

describe('logs', () => {
  test('what went well is silent at info and told at debug', async () => {
    const quiet = await open('info');
    const chatty = await open('debug');
    for (const { telemetry } of [quiet, chatty]) {
      telemetry.requestFinished(request);
      telemetry.turnFinished(turn);
    }
    expect(quiet.lines).toEqual([]);
    expect(chatty.lines.map((line) => line.msg)).toEqual(['request finished', 'turn finished']);
  });

  test('a refusal is told at info and a failure at warn, with its code and id', async () => {
    const { telemetry, lines } = await open();
    telemetry.requestFinished({ ...request, status: 429, code: 'rate_limited' });
    telemetry.requestFinished({ ...request, status: 503, code: 'overloaded' });
    expect(lines).toMatchObject([
      { level: 30, code: 'rate_limited', requestId: 'req_1', service: 'usher' },
      { level: 40, code: 'overloaded', requestId: 'req_1' },
    ]);
  });

  test('a defect is logged with its frames and causes, and without the message, which may quote content', async () => {
    const { telemetry, lines } = await open();
    let error: unknown;
    try {
      JSON.parse('{"secret words');
    } catch (cause) {
      error = new UsherError('internal', 'The row could not be read.', { cause });
    }
    telemetry.unexpected({ where: 'GET /v1/x', error, requestId: 'req_2' });
    expect(lines).toMatchObject([
      { level: 50, where: 'GET /v1/x', requestId: 'req_2', cause: { name: 'SyntaxError' } },
    ]);
    expect(JSON.stringify(lines)).not.toContain('secret words');
    expect(JSON.stringify(lines)).toContain('open-telemetry.test.ts');
  });
});

describe('metrics', () => {
  test('every described metric is on /metrics beside those of the process, and no other of ours', async () => {
    const { telemetry } = await open();
    const { body, contentType } = await telemetry.metrics();
    expect(contentType).toContain('text/plain');
    const ours = [...body.matchAll(/^# TYPE (usher_\S+) (\S+)$/gm)].map(([, name, kind]) => ({ name, kind }));
    expect(ours).toEqual(metricDescriptions().map(({ name, kind }) => ({ name, kind })));
    expect(body).toContain('process_resident_memory_bytes');
    expect(body).toContain('usher_build_info{version="1.2.3"} 1');
  });

  test('events are counted under bounded labels', async () => {
    const { telemetry } = await open();
    telemetry.requestFinished(request);
    telemetry.turnFinished(turn);
    telemetry.attemptFinished({
      turn: 'turn_1',
      backend: 'main',
      result: 'answered',
      firstTokenMs: 70,
      durationMs: 800,
    });
    telemetry.backendState({ pool: 'default', backend: 'main', breaker: 'open', inFlight: 3 });
    const embedded = { tenant: turn.tenant, model: 'small', reason: undefined, texts: 2, durationMs: 30 };
    telemetry.embeddingFinished({ ...embedded, result: 'done', inputTokens: 9 });
    const { body } = await telemetry.metrics();
    expect(body).toContain('usher_embedding_requests_total{tenant="default",model="small",result="done"} 1');
    expect(body).toContain('usher_embedding_tokens_total{tenant="default",model="small"} 9');
    expect(body).toContain('usher_http_requests_total{method="POST",route="/v1/responses",status="200"} 1');
    expect(body).toContain('usher_tokens_total{tenant="default",assistant="guide",type="input"} 120');
    expect(body).toContain('usher_backend_attempts_total{backend="main",result="answered"} 1');
    expect(body).toContain('usher_backend_breaker{pool="default",backend="main",state="open"} 1');
    expect(body).toContain('usher_backend_in_flight{pool="default",backend="main"} 3');
    expect(body).not.toContain('turn_1');
    expect(body).not.toContain('req_1');
  });
});

describe('OpenTelemetry', () => {
  test('a turn arrives at an OTLP receiver as a span with its attempts, and as GenAI metrics', async () => {
    const received: { path: string; body: string }[] = [];
    const collector = createServer((incoming, answer) => {
      const chunks: Buffer[] = [];
      incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
      incoming.on('end', () => {
        received.push({ path: incoming.url ?? '', body: Buffer.concat(chunks).toString() });
        answer.writeHead(200, { 'content-type': 'application/json' }).end('{}');
      });
    });
    await new Promise<void>((resolve) => collector.listen(0, '127.0.0.1', resolve));
    const endpoint = `http://127.0.0.1:${(collector.address() as AddressInfo).port}`;
    process.env.OTEL_EXPORTER_OTLP_ENDPOINT = endpoint;
    try {
      const { telemetry } = await open('info', true);
      const attempt = { turn: 'turn_1', backend: 'main', firstTokenMs: 70, durationMs: 800 };
      telemetry.attemptFinished({ ...attempt, result: 'timeout' });
      telemetry.attemptFinished({ ...attempt, result: 'answered' });
      telemetry.turnFinished(turn);
      await telemetry.close();
      opened.length = 0;
    } finally {
      delete process.env.OTEL_EXPORTER_OTLP_ENDPOINT;
      collector.closeAllConnections();
      await new Promise((resolve) => collector.close(resolve));
    }
    const traces = JSON.parse(received.find(({ path }) => path === '/v1/traces')?.body ?? '{}') as OtlpTraces;
    const spans = traces.resourceSpans.flatMap((resource) => resource.scopeSpans.flatMap((scope) => scope.spans));
    const whole = spans.find(({ name }) => name === 'invoke_agent guide');
    const calls = spans.filter(({ name }) => name === 'chat gpt-4.1-mini');
    expect(calls.map(({ parentSpanId }) => parentSpanId)).toEqual([whole?.spanId, whole?.spanId]);
    expect(calls.map(({ status }) => status.code)).toEqual([2, 0]);
    const attributes = Object.fromEntries((whole?.attributes ?? []).map(({ key, value }) => [key, value]));
    expect(attributes).toMatchObject({
      'gen_ai.operation.name': { stringValue: 'invoke_agent' },
      'gen_ai.request.model': { stringValue: 'gpt-4.1-mini' },
      'gen_ai.usage.input_tokens': { intValue: 120 },
    });
    const metrics = received.find(({ path }) => path === '/v1/metrics')?.body ?? '';
    for (const name of [
      'gen_ai.client.operation.duration',
      'gen_ai.client.token.usage',
      'gen_ai.client.operation.time_to_first_chunk',
    ]) {
      expect(metrics).toContain(`"${name}"`);
    }
  });

  test('a receiver that is not there holds nothing up and breaks nothing', async () => {
    process.env.OTEL_EXPORTER_OTLP_ENDPOINT = 'http://127.0.0.1:9';
    try {
      const { telemetry } = await open('info', true);
      telemetry.turnFinished(turn);
      await expect(telemetry.close()).resolves.toBeUndefined();
      opened.length = 0;
    } finally {
      delete process.env.OTEL_EXPORTER_OTLP_ENDPOINT;
    }
  });
});

interface OtlpTraces {
  readonly resourceSpans: readonly {
    readonly scopeSpans: readonly {
      readonly spans: readonly {
        readonly name: string;
        readonly spanId: string;
        readonly parentSpanId?: string;
        readonly status: { readonly code: number };
        readonly attributes: readonly { readonly key: string; readonly value: unknown }[];
      }[];
    }[];
  }[];
}
