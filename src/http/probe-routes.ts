import { setTimeout as delay } from 'node:timers/promises';
import { UsherError } from '#base';
import type { Telemetry } from '#telemetry';
import type { Route } from './exchange.ts';

export interface ProbeOptions {
  /** Rejects where the node cannot do its part: `store.probe` and the like. */
  readonly check: () => Promise<void>;
  readonly isDraining: () => boolean;
  /** Whether the node knows what to serve. */
  readonly isPrepared: () => boolean;
  readonly telemetry: Telemetry;
}

/** A check that is slower than this counts as failed. */
const checkTimeoutMs = 2000;
/** Whoever asks more often gets the last finding, so that asking costs the store nothing. */
const checkEveryMs = 1000;

/**
 * `/livez`: the process answers. `/readyz`: it should be sent traffic. `/metrics`: Prometheus text,
 * which names assistants and backends and so is for operators.
 */
export function probeRoutes({ check, isDraining, isPrepared, telemetry }: ProbeOptions): Route[] {
  const isReady = remembered(check);
  const unreadiness = async (): Promise<'storage_unavailable' | 'not_ready' | undefined> => {
    if (!(await isReady())) return 'storage_unavailable';
    return isPrepared() ? undefined : 'not_ready';
  };
  return [
    {
      method: 'GET',
      path: '/livez',
      policy: { access: 'public', why: 'the supervisor asks without a credential and learns nothing but a status' },
      summary: 'Whether the process answers.',
      answer: 'Status 200 and `{"status":"ok"}`.',
      handle: async (exchange) => exchange.sendJson(200, { status: 'ok' }),
    },
    {
      method: 'GET',
      path: '/readyz',
      policy: { access: 'public', why: 'the load balancer asks without a credential and learns nothing but a status' },
      summary:
        'Whether the node should be sent traffic: its storage works, it knows what to serve, and it is not stopping.',
      answer: 'Status 200 and `{"status":"ok"}`; else 503 with `shutting_down`, `storage_unavailable` or `not_ready`.',
      handle: async (exchange) => {
        const reason = isDraining() ? 'shutting_down' : await unreadiness();
        if (reason === undefined) return exchange.sendJson(200, { status: 'ok' });
        throw new UsherError(reason, 'Not ready.');
      },
    },
    {
      method: 'GET',
      path: '/metrics',
      policy: { access: 'operator', why: 'labels name assistants, backends and releases' },
      summary: 'Every [metric](metrics.md) of the process.',
      answer: 'The Prometheus text format.',
      handle: async (exchange) => {
        const { contentType, body } = await telemetry.metrics();
        exchange.send(200, contentType, body);
      },
    },
  ];
}

/** One check at a time, its finding kept for a moment. */
function remembered(check: () => Promise<void>): () => Promise<boolean> {
  let finding: Promise<boolean> | undefined;
  return () => {
    finding ??= settled(check).finally(() => {
      setTimeout(() => {
        finding = undefined;
      }, checkEveryMs).unref();
    });
    return finding;
  };
}

async function settled(check: () => Promise<void>): Promise<boolean> {
  const overdue = new AbortController();
  try {
    const late = delay(checkTimeoutMs, false, { signal: overdue.signal, ref: false });
    return await Promise.race([check().then(() => true), late]);
  } catch {
    return false;
  } finally {
    overdue.abort();
  }
}
