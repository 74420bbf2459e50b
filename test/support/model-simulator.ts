import { startChild, type Child } from './child.ts';
import type { ControlCommand, Rule } from './model-simulator/control.ts';
import type { JournalEntry, JournalTotals } from './model-simulator/journal.ts';
import type { SimulatorOptions } from './model-simulator/options.ts';
import { readMarkers, type Plan } from './model-simulator/plan.ts';

export type { JournalEntry, JournalTotals, Plan, SimulatorOptions };

/** A running model simulator, in a process of its own. */
export interface ModelSimulator extends AsyncDisposable {
  /** `http://127.0.0.1:port`. */
  readonly url: string;
  /** What an OpenAI client takes as its base URL: `url` and `/v1`. */
  readonly baseUrl: string;
  readonly controlUrl: string;
  readonly pid: number;
  /** Any command, for those without a word of their own. */
  control(command: ControlCommand): Promise<void>;
  /**
   * Plans the next `next` requests (default 1) that carry no marker of their own.
   * A string is in marker form: `'[[sim:cut after=5]]'`.
   */
  plan(plan: Plan | string, rule?: Omit<Rule, 'plan'>): Promise<void>;
  /** Plans every request until `clear`, or a seeded share of them. */
  planAll(plan: Plan | string, rule?: Omit<Rule, 'plan' | 'next'>): Promise<void>;
  clear(): Promise<void>;
  log(): Promise<{ readonly totals: JournalTotals; readonly requests: readonly JournalEntry[] }>;
  /** Polls the journal until `isTrue`. @throws Error with the journal's last entries after `timeoutMs` (default 5000) */
  until(isTrue: (log: SimulatorLog) => boolean, timeoutMs?: number): Promise<SimulatorLog>;
  stop(): Promise<void>;
}

export type SimulatorLog = Awaited<ReturnType<ModelSimulator['log']>>;

/** Starts a simulated model server on a free port of 127.0.0.1. */
export async function startModelSimulator(options: Partial<SimulatorOptions> = {}): Promise<ModelSimulator> {
  const script = new URL('./model-simulator/main.ts', import.meta.url);
  const child = await startChild(script, [JSON.stringify(options)]);
  const { url, control: controlUrl } = child.ready as { url: string; control: string };
  const control = (command: ControlCommand): Promise<void> => sendCommand(controlUrl, command);
  const log = (): Promise<SimulatorLog> => readLog(controlUrl);
  const addRule = (plan: Plan | string, rule: Omit<Rule, 'plan'>): Promise<void> =>
    control({ do: 'plan', plan: typeof plan === 'string' ? readMarkers(plan) : plan, ...rule });
  return {
    url,
    baseUrl: `${url}/v1`,
    controlUrl,
    pid: child.pid,
    control,
    plan: (plan, rule = {}) => addRule(plan, { next: 1, ...rule }),
    planAll: (plan, rule = {}) => addRule(plan, rule),
    clear: () => control({ do: 'clear' }),
    log,
    until: (isTrue, timeoutMs = 5000) => pollLog(log, isTrue, timeoutMs, child),
    stop: () => child.stop(),
    [Symbol.asyncDispose]: () => child.stop(),
  };
}

async function sendCommand(controlUrl: string, command: ControlCommand): Promise<void> {
  const response = await fetch(`${controlUrl}/control`, { method: 'POST', body: JSON.stringify(command) });
  const text = await response.text();
  if (!response.ok) throw new Error(`the model simulator refused ${JSON.stringify(command)}: ${text}`);
}

async function readLog(controlUrl: string): Promise<SimulatorLog> {
  const response = await fetch(`${controlUrl}/control/log`);
  return (await response.json()) as SimulatorLog;
}

async function pollLog(
  log: () => Promise<SimulatorLog>,
  isTrue: (log: SimulatorLog) => boolean,
  timeoutMs: number,
  child: Child,
): Promise<SimulatorLog> {
  const until = performance.now() + timeoutMs;
  for (;;) {
    const seen = await log();
    if (isTrue(seen)) return seen;
    if (performance.now() > until) {
      const last = JSON.stringify({ totals: seen.totals, requests: seen.requests.slice(-3) });
      throw new Error(`the model simulator did not see it within ${timeoutMs} ms: ${last}${child.errors()}`);
    }
    await new Promise((resolve) => {
      setTimeout(resolve, 10);
    });
  }
}
