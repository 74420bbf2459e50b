import type { ModelRequest, PromptMessage } from '#backend';
import { addUsage, noUsage, type Replayed } from '#conversation';
import { allOf } from './all-of.ts';
import type { Answer } from './answer.ts';
import type { Audience } from '../durable/audience.ts';
import { compact, pastRefused } from '../context/compact.ts';
import { formatProblem, repairMessages } from './answer-format.ts';
import { cancelledDispatch, dispatch, type Dispatched } from '../dispatch.ts';
import {
  awaitPerson,
  callPerson,
  handedFirst,
  isAnsweredByPerson,
  pendingHandover,
  type HandedFirst,
} from './hand-over.ts';
import { composePrompt } from '../context/compose-prompt.ts';
import { recallAdded } from '../recall.ts';
import { runPending, type TurnTools } from './turn-tools.ts';
import type { TurnRooms } from '../turn-rooms.ts';
import type { PromptedTurn } from '../turn-steps.ts';

/** Answers of models in one turn at the most: one that only ever calls tools is told to stop. */
const stepsMax = 24;

/**
 * Steps 4 and 5: what is too long is compacted, the model is asked, its tools are run, and it is
 * asked again with what came of them, until it answers, or a person does in its place. A turn that
 * another node began is gone on with from where it stands: what was finished there is read, never
 * done again.
 */
export async function answerTurn(
  rooms: TurnRooms,
  asked: PromptedTurn,
  work: {
    readonly answer: Answer;
    readonly audience: Audience;
    readonly tools: TurnTools;
    readonly from: Replayed;
    readonly signal: AbortSignal;
  },
): Promise<Dispatched> {
  const { answer, tools, from, signal } = work;
  const handed = hasSaidNothing(from) ? await handedFirst(rooms, asked) : undefined;
  const isForPerson = handed !== undefined || pendingHandover(answer) !== undefined;
  const compacted = await compact(rooms, asked, { answer, from, signal, isForPerson });
  let { turn } = compacted;
  let usage = addUsage(from.usage, compacted.usage);
  let { steps, backend } = from;
  let firstTokenMs: number | undefined;
  if (compacted.ended !== undefined) return { ...compacted.ended, usage, backend, firstTokenMs };
  const isCalled = from.steps === 0 && (await callFirst(turn, answer, handed));
  let isAsking = !from.isStepOver && !isCalled;
  let repair: readonly PromptMessage[] = [];
  for (;;) {
    if (isAnsweredByPerson(answer)) {
      return { outcome: { state: 'completed', reason: 'stop' }, usage, backend, firstTokenMs };
    }
    if (isAsking && pendingHandover(answer) === undefined) {
      const fitted = fittedPrompt(turn, answer);
      if (fitted === undefined) return { ...pastRefused(), usage, backend, firstTokenMs };
      const whole = withTools(fitted.prompt, tools, steps);
      const prompt = { ...whole, messages: [...whole.messages, ...repair] };
      const { promptTokens } = fitted;
      const dispatched = await dispatch(rooms, turn, { prompt, promptTokens, answer, signal });
      firstTokenMs ??= dispatched.firstTokenMs;
      usage = addUsage(usage, dispatched.usage);
      backend = dispatched.backend;
      steps += 1;
      if (dispatched.outcome.state !== 'completed') return { ...dispatched, usage, firstTokenMs };
      const problem = answer.callsTool ? undefined : problemOf(turn, answer);
      if (problem !== undefined && repair.length > 0) {
        return { ...dispatched, outcome: formatBroken, usage, firstTokenMs };
      }
      if (problem !== undefined) {
        repair = repairMessages(answer.stepText ?? '', problem);
        await answer.restart();
        continue;
      }
      if (!answer.callsTool) return { ...dispatched, usage, firstTokenMs };
      await answer.endStep({ usage: dispatched.usage, backend });
    }
    await runPending(rooms, turn, work);
    if (signal.aborted) return { ...cancelledDispatch, usage, backend, firstTokenMs };
    const handover = pendingHandover(answer);
    if (handover !== undefined) {
      if ((await awaitPerson(rooms, turn, work, handover)) === 'stopped') {
        return { ...cancelledDispatch, usage, backend, firstTokenMs };
      }
      if (!isAnsweredByPerson(answer)) turn = await recallAdded(rooms, turn);
    }
    // What the caller has to do ends the turn; the next one brings the results.
    if (answer.items.some(({ kind }) => kind === 'call' || kind === 'approval-request')) {
      return { outcome: { state: 'completed', reason: 'call' }, usage, backend, firstTokenMs };
    }
    isAsking = true;
  }
}

/** Whoever has begun to answer goes on: a person who takes the conversation meanwhile answers its next message. */
function hasSaidNothing({ steps, kept, open, pending }: Replayed): boolean {
  const isSaid = open !== undefined || pending.length > 0 || kept.some(({ item }) => item.kind !== 'compaction');
  return steps === 0 && !isSaid;
}

/** What is called before any model is asked becomes durable at once: what the person has agreed to, and whoever answers them. */
async function callFirst({ memory }: PromptedTurn, answer: Answer, handed: HandedFirst | undefined): Promise<boolean> {
  if (handed === undefined && memory.approved.length === 0) return false;
  await allOf(
    ...memory.approved.map((request) => answer.callApproved(request)),
    handed === undefined ? undefined : callPerson(answer, handed),
    answer.endStep({ usage: noUsage, backend: null }),
  );
  return true;
}

/** What is wrong with the form of an answer that was to have one. */
function problemOf(turn: PromptedTurn, answer: Answer): string | undefined {
  const { format } = turn.prompt;
  const text = answer.stepText;
  return format === undefined || text === undefined ? undefined : formatProblem(format, text);
}

/** What is wrong in detail may name content: it is for the model alone. */
const formatBroken: Dispatched['outcome'] = {
  state: 'failed',
  code: 'format_broken',
  message:
    'The model’s answer does not keep to the format that was asked for, and its repair neither. Ask again, or for a simpler one.',
};

/** With what this turn has learnt so far; undefined where history had to make way and its caller wants nothing left out. */
function fittedPrompt(turn: PromptedTurn, answer: Answer): Pick<PromptedTurn, 'prompt' | 'promptTokens'> | undefined {
  if (answer.earlierItems.length === 0 && turn.request.whenFull !== 'refuse') return turn;
  const composed = composePrompt(turn, turn.memory, answer.earlierItems);
  return composed.leavesOut && turn.request.whenFull === 'refuse' ? undefined : composed;
}

function withTools(prompt: ModelRequest, tools: TurnTools, steps: number): ModelRequest {
  const { tools: functions = [], toolChoice: choice, ...rest } = prompt;
  // A call of one that has the name of ours would be taken for ours: a tool that came since the turn was asked for.
  const offered = [...tools.functions, ...functions.filter(({ name }) => tools.toolOf(name) === undefined)];
  const toolChoice = steps >= stepsMax ? 'none' : steps === 0 ? choice : 'auto';
  return {
    ...rest,
    ...(offered.length === 0 ? {} : { tools: offered }),
    ...(toolChoice === undefined || offered.length === 0 ? {} : { toolChoice }),
  };
}
