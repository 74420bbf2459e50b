import { composeAnswer, promptText, type Answer, type ChatBody } from './answer.ts';
import type { Engine } from './engine.ts';
import { epochMs, type Journal, type JournalEntry } from './journal.ts';
import type { SimulatorOptions } from './options.ts';
import type { Fault, Plan } from './plan.ts';
import type { PrefixCache, PrefixLease } from './prefix-cache.ts';
import type { RateLimit } from './rate-limit.ts';
import type { Reply } from './reply.ts';
import { tokenize } from './tokens.ts';
import type { Visitor } from './visitor.ts';

/** The parts of one simulated server that outlive a request. */
export interface Machine {
  readonly options: SimulatorOptions;
  readonly engine: Engine;
  readonly cache: PrefixCache;
  readonly limit: RateLimit;
  readonly journal: Journal;
}

/** One chat completion in progress. */
interface Turn {
  readonly machine: Machine;
  readonly body: ChatBody;
  readonly plan: Plan;
  readonly answer: Answer;
  readonly promptTokens: number;
  readonly lease: PrefixLease;
  readonly entry: JournalEntry;
  readonly visitor: Visitor;
  readonly reply: Reply;
  readonly headers: Readonly<Record<string, string>>;
}

/** Serves one chat completion from its prompt to its last byte. */
export async function serveChat(
  machine: Machine,
  body: ChatBody,
  plan: Plan,
  key: string,
  entry: JournalEntry,
  visitor: Visitor,
  reply: Reply,
): Promise<void> {
  const prompt = promptText(body);
  const tokens = tokenize(prompt);
  entry.promptTokens = tokens.length;
  const { contextTokens, answerTokens } = machine.options;
  const wanted = body.max_completion_tokens ?? body.max_tokens ?? answerTokens;
  const verdict = machine.limit.admit(key, tokens.length + wanted, performance.now());
  if (verdict.refusedBy !== undefined) {
    const message = `Rate limit reached for ${verdict.refusedBy}. Please try again in ${Math.ceil(verdict.waitMs)}ms.`;
    const problem = { message, type: verdict.refusedBy, code: 'rate_limit_exceeded' };
    return refuse(machine, entry, reply, 429, problem, verdict.headers);
  }
  if (tokens.length >= contextTokens) {
    const message = `This model's maximum context length is ${contextTokens} tokens; the messages have ${tokens.length}.`;
    const problem = { message, type: 'invalid_request_error', code: 'context_length_exceeded', param: 'messages' };
    return refuse(machine, entry, reply, 400, problem, verdict.headers);
  }
  const answer = composeAnswer(body, plan, prompt, contextTokens - tokens.length, answerTokens);
  if (!(await machine.engine.enter(visitor))) return;
  const lease = machine.cache.lease(tokens);
  entry.cachedTokens = lease.cachedTokens;
  entry.active = machine.engine.running;
  machine.journal.totals.activeMax = Math.max(machine.journal.totals.activeMax, entry.active);
  const { headers } = verdict;
  const turn = { machine, body, plan, answer, promptTokens: tokens.length, lease, entry, visitor, reply, headers };
  try {
    await (body.stream === true ? streamAnswer(turn) : sendAnswer(turn));
  } finally {
    lease.release();
    machine.engine.leave();
  }
}

interface Problem {
  readonly message: string;
  readonly type: string;
  readonly code: string | null;
  readonly param?: string;
}

/** Answers with an error object before anything else. */
export async function refuse(
  machine: Machine,
  entry: JournalEntry,
  reply: Reply,
  status: number,
  problem: Problem,
  headers: Readonly<Record<string, string>> = {},
): Promise<void> {
  entry.status = status;
  const text = JSON.stringify({ error: { param: null, ...problem } });
  await reply.head(status, { ...headers, 'content-type': 'application/json' }, Buffer.byteLength(text));
  await reply.write(text);
  await reply.end();
  machine.journal.close(entry, 'refused');
}

const simulatedProblem: Problem = {
  message: 'The server had an error while processing your request.',
  type: 'server_error',
  code: 'server_error',
};

async function streamAnswer(turn: Turn): Promise<void> {
  const { entry, reply, plan } = turn;
  entry.status = 200;
  if (plan.fault?.kind === 'error-body') return sendWhole(turn, JSON.stringify({ error: simulatedProblem }), 'faulted');
  await reply.head(200, { ...turn.headers, 'content-type': 'text/event-stream', 'cache-control': 'no-cache' });
  if (!(await prefill(turn))) return;
  const write = eventWriter(turn);
  if (!strikesAt(plan.fault, 0)) await write('{"role":"assistant","content":""}', null);
  if (!(await generate(turn, (delta) => write(delta, null)))) return;
  await write('{}', `"${turn.answer.finish}"`);
  if (turn.body.stream_options?.include_usage === true) await write(undefined, null);
  await reply.write(lines(plan, 'data: [DONE]\n\n'));
  await finish(turn);
}

async function sendAnswer(turn: Turn): Promise<void> {
  const { entry, plan, reply } = turn;
  const { fault } = plan;
  entry.status = 200;
  if (fault?.kind === 'error-body' || fault?.kind === 'error-event') {
    return sendWhole(turn, JSON.stringify({ error: simulatedProblem }), 'faulted');
  }
  if (fault?.kind === 'garbage') return sendWhole(turn, garbage, 'faulted');
  const text = wholeBody(turn);
  if (!(await prefill(turn))) return;
  if (fault === undefined || fault.kind === 'stall') {
    if (await generate(turn, () => undefined)) await sendWhole(turn, text, 'done');
    return;
  }
  // What is left breaks the body in its middle, or never ends it.
  const headers = { ...turn.headers, 'content-type': 'application/json' };
  await reply.head(200, headers, fault.kind === 'cut' ? Buffer.byteLength(text) : undefined);
  await reply.write(text.slice(0, text.length / 2));
  await strike(turn, fault.kind === 'cut' && fault.how === 'end' ? { ...fault, how: 'fin' } : fault, (piece) =>
    reply.write(piece),
  );
}

/** `false`: the visitor left. */
async function prefill(turn: Turn): Promise<boolean> {
  const { machine, lease, promptTokens, visitor } = turn;
  if (!(await machine.engine.prefill(promptTokens - lease.cachedTokens, visitor))) return false;
  lease.commit();
  machine.journal.totals.cacheBlocks = machine.cache.blocks;
  return true;
}

type WriteDelta = (delta: string) => void | Promise<void>;

/** Makes the answer's tokens at the engine's pace. `false`: the visitor left or a fault ended it. */
async function generate(turn: Turn, write: WriteDelta): Promise<boolean> {
  const { machine, answer, plan, entry, visitor } = turn;
  const tokenMs = plan.tokenMs ?? machine.options.tokenMs;
  let dueAt = performance.now();
  for (let index = 0; index < answer.deltas.length; index += 1) {
    if (strikesAt(plan.fault, index)) {
      if (!(await strike(turn, plan.fault, write))) return false;
      dueAt = performance.now();
    }
    // The first token is what the prefill ends with.
    if (tokenMs > 0 && index > 0) {
      dueAt += machine.engine.gapMs(tokenMs);
      if (dueAt > performance.now()) await visitor.sleep(Math.max(1, Math.round(dueAt - performance.now())));
    }
    if (visitor.gone) return false;
    countToken(turn);
    const waits = write(answer.deltas[index] ?? '{}');
    if (waits !== undefined) await waits;
  }
  entry.firstTokenAt ??= epochMs();
  const { fault } = plan;
  // A fault planned for after the answer's last token strikes before the end marker.
  const isLate = fault !== undefined && (!('after' in fault) || fault.after >= answer.deltas.length);
  return isLate ? strike(turn, fault, write) : !visitor.gone;
}

function countToken(turn: Turn): void {
  turn.entry.firstTokenAt ??= epochMs();
  turn.entry.tokens += 1;
  turn.machine.journal.totals.tokens += 1;
}

function strikesAt(fault: Fault | undefined, index: number): fault is Fault {
  if (fault === undefined) return false;
  return 'after' in fault ? fault.after === index : index === 0 && fault.kind === 'endless-line';
}

const garbage = '\u0000\u0001{]<html>\uFFFD not the wire \r\r\n data:';

/** Does what the fault says. `true`: the answer may go on, since a stall was released. */
async function strike(turn: Turn, fault: Fault, write: WriteDelta): Promise<boolean> {
  const { reply, visitor, machine, entry, plan } = turn;
  if (fault.kind === 'stall') {
    await visitor.wait();
    return !visitor.gone;
  }
  if (fault.kind === 'endless') await goOn(turn, write, '{"content":" on"}');
  if (fault.kind === 'endless-line') {
    await reply.write('data: {"choices":[{"index":0,"delta":{"content":"');
    await goOn(turn, (piece) => reply.write(piece), 'x'.repeat(1024));
  }
  if (visitor.gone) return false;
  machine.journal.close(entry, 'faulted');
  if (fault.kind === 'error-event') {
    await reply.write(lines(plan, `data: ${JSON.stringify({ error: simulatedProblem })}\n\n`));
    await reply.end();
  } else if (fault.kind === 'garbage') {
    await reply.write(garbage);
    await reply.end();
  } else if (fault.kind === 'cut' && fault.how === 'end') await reply.end();
  else if (fault.kind === 'cut' && fault.how === 'reset') reply.reset();
  else reply.cut();
  return false;
}

async function goOn(turn: Turn, write: WriteDelta, piece: string): Promise<void> {
  const tokenMs = turn.plan.tokenMs ?? turn.machine.options.tokenMs;
  while (!turn.visitor.gone) {
    countToken(turn);
    await write(piece);
    // At least a turn of the event loop, so that an endless answer starves nobody else.
    await turn.visitor.sleep(tokenMs);
  }
}

/** Writes one event; an undefined delta is the usage event. */
function eventWriter(turn: Turn): (delta: string | undefined, finish: string | null) => void | Promise<void> {
  const { body, entry, plan, reply } = turn;
  const asksUsage = body.stream_options?.include_usage === true;
  const head = `data: {"id":"chatcmpl-${entry.id}","object":"chat.completion.chunk","created":${Math.floor(entry.at / 1000)},"model":${JSON.stringify(body.model)},"choices":[`;
  const start = plan.comments === true ? `: still here\n\n${head}` : head;
  const nullUsage = asksUsage ? ',"usage":null' : '';
  return (delta, finish) => {
    const text =
      delta === undefined
        ? `${start}],"usage":${JSON.stringify(usageOf(turn))}}\n\n`
        : `${start}{"index":0,"delta":${delta},"logprobs":null,"finish_reason":${finish}}]${nullUsage}}\n\n`;
    return reply.write(lines(plan, text));
  };
}

function lines(plan: Plan, text: string): string {
  return plan.crlf === true ? text.replaceAll('\n', '\r\n') : text;
}

function usageOf(turn: Turn): object {
  const tokens = turn.answer.deltas.length;
  return {
    prompt_tokens: turn.promptTokens,
    completion_tokens: tokens,
    total_tokens: turn.promptTokens + tokens,
    prompt_tokens_details: { cached_tokens: turn.lease.cachedTokens },
    completion_tokens_details: { reasoning_tokens: turn.answer.thoughts ?? 0 },
  };
}

function wholeBody(turn: Turn): string {
  const { answer, entry, body } = turn;
  return JSON.stringify({
    id: `chatcmpl-${entry.id}`,
    object: 'chat.completion',
    created: Math.floor(entry.at / 1000),
    model: body.model,
    choices: [{ index: 0, message: answer.message, logprobs: null, finish_reason: answer.finish }],
    usage: usageOf(turn),
  });
}

async function sendWhole(turn: Turn, text: string, end: 'done' | 'faulted'): Promise<void> {
  await turn.reply.head(200, { ...turn.headers, 'content-type': 'application/json' }, Buffer.byteLength(text));
  await turn.reply.write(text);
  await turn.reply.end();
  turn.machine.journal.close(turn.entry, end);
}

async function finish(turn: Turn): Promise<void> {
  await turn.reply.end();
  turn.machine.journal.close(turn.entry, 'done');
}
