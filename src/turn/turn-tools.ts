import type { FunctionTool } from '#backend';
import type { ServerTool, ToolSet } from '#tools';
import type { Answer, PendingTool } from './answer.ts';
import { handoverOf, handoverSource, handoverTool } from './hand-over.ts';
import type { TurnRooms } from './turn-rooms.ts';
import type { PromptedTurn } from './turn-steps.ts';

/** The tools that the assistant itself has, as one turn uses them. */
export interface TurnTools {
  readonly functions: readonly FunctionTool[];
  readonly sourceOf: (name: string) => string | undefined;
  readonly set: ToolSet | undefined;
}

/** Calls of tools of one turn at the most, where the caller set no bound. */
const callsMax = 64;

export async function openTurnTools(rooms: Pick<TurnRooms, 'tools'>, turn: PromptedTurn): Promise<TurnTools> {
  const { release } = turn.served;
  const set = release.tools === undefined ? undefined : await rooms.tools.of(release, turn.reach.tenant);
  const handover = handoverOf(turn);
  const own = set?.tools.filter(({ name }) => handover === undefined || name !== handoverTool.name) ?? [];
  const sources = new Map(own.map(({ name, source }) => [name, source]));
  if (handover !== undefined) sources.set(handoverTool.name, handoverSource);
  return {
    // A function of the caller's with the same name is not offered: the assistant's owner decides.
    functions: [...own.map(functionOf), ...(handover?.tool === true ? [handoverTool] : [])],
    sourceOf: (name) => sources.get(name),
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
  turn: PromptedTurn,
  { answer, tools, signal }: { readonly answer: Answer; readonly tools: TurnTools; readonly signal: AbortSignal },
): Promise<void> {
  for (const pending of answer.pending.filter(({ item }) => item.source !== handoverSource)) {
    const tool = tools.set?.tools.find(({ name }) => name === pending.item.name);
    const refusal = refusalOf(turn, answer, pending, tool);
    if (refusal !== undefined) {
      await answer.settle(pending, { output: null, error: refusal });
      continue;
    }
    if (!pending.acting) await answer.act(pending);
    if (signal.aborted) return;
    await callTool(turn, { answer, tools, signal }, pending);
    if (signal.aborted) return;
  }
}

async function callTool(
  turn: PromptedTurn,
  { answer, tools, signal }: { readonly answer: Answer; readonly tools: TurnTools; readonly signal: AbortSignal },
  pending: PendingTool,
): Promise<void> {
  const context = {
    tenant: turn.reach.tenant,
    subject: turn.subject,
    assistant: turn.served.assistant,
    idempotencyKey: pending.item.id,
    userAuthorisation: turn.request.userAuthorisation,
  };
  const outcome = await tools.set!.call(pending.item.name, pending.item.arguments, context, signal);
  // Stopped: how the turn ends says what becomes of the call.
  if (signal.aborted) return;
  const told =
    outcome.result === 'done' ? { output: outcome.output, error: null } : { output: null, error: outcome.message };
  await answer.settle(pending, told);
}

/** Why a call is not made, for the model to read. */
function refusalOf(
  turn: PromptedTurn,
  answer: Answer,
  pending: PendingTool,
  tool: ServerTool | undefined,
): string | undefined {
  if (tool === undefined) return 'This tool is not available now. Answer without it.';
  if (pending.acting && !tool.idempotent) {
    return 'The server stopped while this tool ran: whether it had its effect is not known. Do not repeat it unasked.';
  }
  if (tool.confirm) return 'This tool may only run after the person has confirmed it. Ask them to do it themselves.';
  const made = answer.items.filter(({ kind }) => kind === 'tool').length;
  if (made >= (turn.request.toolCallsMax ?? callsMax)) return 'No more calls are allowed. Answer with what you have.';
  return undefined;
}
