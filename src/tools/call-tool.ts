import type { Clock } from '#base';
import type { Telemetry, ToolResult } from '#telemetry';
import type { CallRates } from './call-rates.ts';
import type { ToolContext, ToolOutcome } from './port.ts';
import type { Arguments, RunnableTool } from './runnable-tool.ts';
import { refusal, ToolFailure } from './tool-failure.ts';

export interface CallRooms {
  readonly clock: Clock;
  readonly rates: CallRates;
  readonly telemetry: Pick<Telemetry, 'toolCalled' | 'unexpected'>;
}

const argumentsCharactersMax = 65_536;

/** One call, from the model's words to a result or a sentence. Never rejects. */
export async function callTool(
  rooms: CallRooms,
  tool: RunnableTool,
  argumentsJson: string,
  context: ToolContext,
  signal: AbortSignal,
): Promise<ToolOutcome> {
  const startedAtMs = rooms.clock.monotonicMs();
  const settled = await settle(rooms, tool, argumentsJson, context, signal);
  const { name, source } = tool.shown;
  rooms.telemetry.toolCalled({
    tenant: context.tenant,
    assistant: context.assistant,
    source,
    tool: name,
    result: settled.how,
    durationMs: rooms.clock.monotonicMs() - startedAtMs,
  });
  return settled.outcome;
}

interface Settled {
  readonly how: ToolResult;
  readonly outcome: ToolOutcome;
}

async function settle(
  rooms: CallRooms,
  tool: RunnableTool,
  argumentsJson: string,
  context: ToolContext,
  signal: AbortSignal,
): Promise<Settled> {
  try {
    if (signal.aborted) throw stopped();
    const given = readArguments(tool, argumentsJson);
    admit(rooms, tool, context);
    const output = await withinTime(tool, signal, (within) => tool.run(given, context, within));
    return { how: 'done', outcome: { result: 'done', output } };
  } catch (error) {
    const failure = failureOf(rooms, error);
    return { how: failure.result, outcome: { result: 'failed', message: failure.message } };
  }
}

function readArguments({ check }: RunnableTool, argumentsJson: string): Arguments {
  if (argumentsJson.length > argumentsCharactersMax) {
    throw refusal(`The arguments exceed ${argumentsCharactersMax} characters. Send less.`);
  }
  let given: unknown;
  try {
    // Models send nothing where a tool takes nothing.
    given = argumentsJson.trim() === '' ? {} : JSON.parse(argumentsJson);
  } catch {
    throw refusal('The arguments are not JSON. Send one JSON object.');
  }
  if (typeof given !== 'object' || given === null || Array.isArray(given)) {
    throw refusal('The arguments must be one JSON object.');
  }
  const wrong = check(given);
  if (wrong.length > 0) throw refusal(`The arguments do not fit. ${wrong.join(' ')}`);
  return given as Arguments;
}

function admit({ rates, clock }: CallRooms, { shown, policy }: RunnableTool, context: ToolContext): void {
  const pair = [context.tenant, context.subject, context.assistant, shown.name].join('\0');
  const waitMs = rates.admit(pair, policy.ratePerMinute, clock.monotonicMs());
  if (waitMs === 0) return;
  throw refusal(
    `This person has used the tool ${policy.ratePerMinute} times within a minute. It can be used again in ${Math.ceil(waitMs / 1000)} s.`,
  );
}

/** What still runs after its time is stopped, and not waited for. */
async function withinTime(
  { policy }: RunnableTool,
  signal: AbortSignal,
  run: (within: AbortSignal) => Promise<string>,
): Promise<string> {
  const ending = new AbortController();
  const { promise: ended, reject } = Promise.withResolvers<never>();
  const end = (failure: ToolFailure): void => {
    reject(failure);
    ending.abort(failure);
  };
  const timer = setTimeout(
    () =>
      end(
        new ToolFailure(
          'timeout',
          `The tool took longer than ${policy.timeoutMs} ms and was stopped. It is not known whether it did anything.`,
        ),
      ),
    policy.timeoutMs,
  );
  const onAbort = (): void => end(stopped());
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([run(ending.signal), ended]);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', onAbort);
  }
}

function stopped(): ToolFailure {
  return new ToolFailure('aborted', 'The call was stopped before the tool had answered.');
}

function failureOf({ telemetry }: CallRooms, error: unknown): ToolFailure {
  if (error instanceof ToolFailure) return error;
  telemetry.unexpected({ where: 'tool', error });
  return new ToolFailure('failed', 'The tool failed for a reason that is not known.');
}
