import { searchSource, searchTool, type ToolItem } from '#conversation';
import type { FunctionTool } from '#backend';
import type { ServerTool, ToolSet } from '#tools';
import type { Answer, PendingTool } from './answer.ts';
import { isSearch, runSearch, searchFunction, searchesItself } from './search-tool.ts';
import type { TurnRooms } from './turn-rooms.ts';
import type { PromptedTurn } from './turn-steps.ts';

/** The tools that the assistant itself has, as one turn uses them. */
export interface TurnTools {
  readonly functions: readonly FunctionTool[];
  readonly sourceOf: (name: string) => string | undefined;
  readonly set: ToolSet | undefined;
}

const noTools: TurnTools = { functions: [], sourceOf: () => undefined, set: undefined };

/** Calls of tools of one turn at the most, where the caller set no bound. */
const callsMax = 64;

export async function openTurnTools(rooms: Pick<TurnRooms, 'tools'>, turn: PromptedTurn): Promise<TurnTools> {
  const { release } = turn.served;
  const searches = searchesItself(turn);
  if (release.tools === undefined && !searches) return noTools;
  const set = release.tools === undefined ? undefined : await rooms.tools.of(release, turn.reach.tenant);
  // A tool of the search's own name would be one of two that the model cannot tell apart.
  const own = (set?.tools ?? []).filter(({ name }) => !(searches && name === searchTool));
  const byName = new Map(own.map((tool) => [tool.name, tool]));
  // A function of the caller's with the same name is not offered: the assistant's owner decides.
  const functions = own.map(functionOf);
  return {
    functions: searches ? [searchFunction, ...functions] : functions,
    sourceOf: (name) => (searches && name === searchTool ? searchSource : byName.get(name)?.source),
    set,
  };
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
  for (const pending of answer.pending) {
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
      ? await runSearch(rooms, turn, answer, pending.item)
      : await callTool(turn, { tools, signal }, pending);
    // Stopped: how the turn ends says what becomes of the call.
    if (signal.aborted) return;
    await answer.settle(pending, told);
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
  const isAllowed = made < (turn.request.toolCallsMax ?? callsMax);
  return isAllowed ? undefined : 'No more calls are allowed. Answer with what you have.';
}

/** Why a call is not made, for the model to read. */
function refusalOf(pending: PendingTool, tool: ServerTool | undefined): string | undefined {
  if (tool === undefined) return 'This tool is not available now. Answer without it.';
  if (pending.acting && !tool.idempotent) {
    return 'The server stopped while this tool ran: whether it had its effect is not known. Do not repeat it unasked.';
  }
  if (tool.confirm) return 'This tool may only run after the person has confirmed it. Ask them to do it themselves.';
  return undefined;
}
