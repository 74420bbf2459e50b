import { shown, UsherError } from '#base';
import { searchSource, searchTool, type ToolItem } from '#conversation';
import type { FunctionTool } from '#backend';
import type { ServerTool, ToolSet } from '#tools';
import type { Answer } from './answer.ts';
import type { PendingTool } from './told-items.ts';
import type { OwnTool } from './open-item.ts';
import { handoverOf, handoverSource, handoverTool, isHandover } from './hand-over.ts';
import { isSearch, runSearch, searchFunction, searchesItself } from './search-tool.ts';
import type { TurnRooms } from '../turn-rooms.ts';
import type { PlannedTurn, PromptedTurn } from '../turn-steps.ts';

/** The tools that the assistant itself has, as one turn uses them. */
export interface TurnTools {
  readonly functions: readonly FunctionTool[];
  readonly toolOf: (name: string) => OwnTool | undefined;
  readonly set: ToolSet | undefined;
}

/** Calls of tools of one turn at the most, where the caller set no bound. */
const callsMax = 64;

/** What tells which tools a turn has. */
type Equipped = Pick<PlannedTurn, 'request' | 'served' | 'reach'>;

/**
 * A function of the caller's under the name of one of the assistant's tools would never be called, and
 * one that must be called has to be there.
 * @throws UsherError `invalid_request`
 */
export async function refuseTools(rooms: Pick<TurnRooms, 'tools'>, turn: Equipped): Promise<void> {
  const { tools, toolChoice, fileSearch } = turn.request;
  const chosen = typeof toolChoice === 'object' ? toolChoice : undefined;
  if (tools.length === 0 && chosen === undefined && toolChoice !== 'required') return;
  const { toolOf, functions } = await openTurnTools(rooms, turn);
  if (toolChoice === 'required' && tools.length + functions.length === 0 && fileSearch === undefined) {
    throw new UsherError('invalid_request', '"tool_choice" is "required", and there are no tools. Give some.', {
      param: 'tool_choice',
    });
  }
  const at = tools.findIndex(({ name }) => toolOf(name) !== undefined);
  if (at !== -1) {
    throw new UsherError(
      'invalid_request',
      `The assistant has a tool of its own called "${tools[at]!.name}", which the model would call instead. Give your function another name.`,
      { param: `tools[${at}]` },
    );
  }
  if (chosen === undefined || toolOf(chosen.name) !== undefined) return;
  const isCustom = chosen.custom === true;
  if (tools.some(({ name, custom }) => name === chosen.name && (custom !== undefined) === isCustom)) return;
  // Where there is nothing to search it is not offered.
  if (chosen.name === searchTool && fileSearch !== undefined) return;
  throw new UsherError(
    'invalid_request',
    `"tool_choice" names "${shown(chosen.name)}", and no such tool was given. Give it, or name another.`,
    { param: 'tool_choice' },
  );
}

export async function openTurnTools(rooms: Pick<TurnRooms, 'tools'>, turn: Equipped): Promise<TurnTools> {
  const { release } = turn.served;
  const set = release.tools === undefined ? undefined : await rooms.tools.of(release, turn.reach.tenant);
  const ours = oursOf(turn);
  // A tool of the same name as one of ours would be one of two that the model cannot tell apart.
  const own = set?.tools.filter(({ name }) => !ours.has(name)) ?? [];
  // Where nobody could be asked, the call is refused instead.
  const { mayApprove } = turn.request;
  const known = new Map(own.map(({ name, source, confirm }) => [name, { source, asksFirst: confirm && mayApprove }]));
  for (const [name, { source }] of ours) known.set(name, { source, asksFirst: false });
  const offered = [...ours.values()].flatMap(({ offered }) => offered ?? []);
  return {
    functions: [...offered, ...own.map(functionOf)],
    toolOf: (name) => known.get(name),
    set,
  };
}

/** Functions that Usher itself has for the model; without `offered` it is told of none, but a call means it. */
function oursOf(turn: Equipped): ReadonlyMap<string, { readonly source: string; readonly offered?: FunctionTool }> {
  const handover = handoverOf(turn);
  const ours = new Map<string, { readonly source: string; readonly offered?: FunctionTool }>();
  if (searchesItself(turn)) ours.set(searchTool, { source: searchSource, offered: searchFunction });
  if (handover !== undefined) {
    ours.set(handoverTool.name, { source: handoverSource, ...(handover.tool ? { offered: handoverTool } : {}) });
  }
  return ours;
}

function functionOf({ name, description, parameters }: ServerTool): FunctionTool {
  return {
    name,
    ...(description === undefined ? {} : { description }),
    ...(parameters === undefined ? {} : { parameters }),
  };
}

/**
 * Runs what is pending, one after another. Each is durable as begun before it runs; one that a lost
 * node may have run already runs again only where the owner declared it idempotent, with the same
 * idempotency key.
 */
export async function runPending(
  rooms: Pick<TurnRooms, 'clock' | 'telemetry'>,
  turn: PromptedTurn,
  { answer, tools, signal }: { readonly answer: Answer; readonly tools: TurnTools; readonly signal: AbortSignal },
): Promise<void> {
  for (const pending of answer.pending.filter(({ item }) => !isHandover(item))) {
    const tool = tools.set?.tools.find(({ name }) => name === pending.item.name);
    // A search changes nothing: it may run again wherever it was lost.
    const search = isSearch(pending.item);
    const refusal = excessOf(turn, answer) ?? (search ? undefined : refusalOf(pending, tool));
    if (refusal !== undefined) {
      await answer.settle(pending, { output: null, error: refusal });
      continue;
    }
    if (!pending.acting) await answer.act(pending);
    if (signal.aborted) return;
    const told = search
      ? await unlessStopped(runSearch(rooms, turn, answer, pending.item), signal)
      : await callTool(turn, { tools, signal }, pending);
    // Stopped: how the turn ends says what becomes of the call.
    if (signal.aborted || told === undefined) return;
    await answer.settle(pending, told);
  }
}

/** A search cannot be stopped and changes nothing: once the turn is, nobody waits for it. */
async function unlessStopped<Done>(work: Promise<Done>, signal: AbortSignal): Promise<Done | undefined> {
  const stopped = Promise.withResolvers<undefined>();
  const stop = (): void => stopped.resolve(undefined);
  signal.addEventListener('abort', stop, { once: true });
  try {
    return await Promise.race([work, stopped.promise]);
  } finally {
    signal.removeEventListener('abort', stop);
  }
}

async function callTool(
  turn: PromptedTurn,
  { tools, signal }: { readonly tools: TurnTools; readonly signal: AbortSignal },
  pending: PendingTool,
): Promise<Pick<ToolItem, 'output' | 'error'>> {
  const context = {
    tenant: turn.reach.tenant,
    subject: turn.subject,
    assistant: turn.served.assistant,
    idempotencyKey: pending.item.id,
    userAuthorisation: turn.request.userAuthorisation,
  };
  const outcome = await tools.set!.call(pending.item.name, pending.item.arguments, context, signal);
  return outcome.result === 'done' ? { output: outcome.output, error: null } : { output: null, error: outcome.message };
}

/** Why no further call is made, for the model to read. */
function excessOf(turn: PromptedTurn, answer: Answer): string | undefined {
  const made = answer.items.filter(({ kind }) => kind === 'tool').length;
  const isAllowed = made < Math.min(turn.request.toolCallsMax ?? callsMax, callsMax);
  return isAllowed ? undefined : 'No more calls are allowed. Answer with what you have.';
}

/** Why a call is not made, for the model to read. */
function refusalOf(pending: PendingTool, tool: ServerTool | undefined): string | undefined {
  if (tool === undefined) return 'This tool is not available now. Answer without it.';
  if (pending.acting && !tool.idempotent) {
    return 'The server stopped while this tool ran: whether it had its effect is not known. Do not repeat it unasked.';
  }
  if (tool.confirm && pending.item.approvalRequest === undefined) {
    return 'This tool may only run after the person has agreed, and they cannot be asked here. Ask them to do it themselves.';
  }
  return undefined;
}
