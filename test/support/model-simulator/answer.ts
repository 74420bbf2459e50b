import type { Plan, PlannedCall } from './plan.ts';
import { hashText, seededTokens, tokenize } from './tokens.ts';

export interface ChatBody {
  readonly model: string;
  readonly messages: readonly ChatMessage[];
  readonly stream?: boolean;
  readonly stream_options?: { readonly include_usage?: boolean } | null;
  readonly max_tokens?: number | null;
  readonly max_completion_tokens?: number | null;
  readonly stop?: string | readonly string[] | null;
  readonly tools?: readonly {
    readonly function?: { readonly name: string; readonly parameters?: JsonSchema };
    readonly custom?: { readonly name: string };
  }[];
  readonly tool_choice?:
    | string
    | { readonly function?: { readonly name: string }; readonly custom?: { readonly name: string } }
    | null;
  readonly parallel_tool_calls?: boolean;
  readonly response_format?: {
    readonly type: string;
    readonly json_schema?: { readonly schema?: JsonSchema };
  } | null;
}

interface ChatMessage {
  readonly role: string;
  readonly content?: string | readonly { readonly type: string; readonly text?: string }[] | null;
  readonly tool_calls?: readonly unknown[];
}

interface JsonSchema {
  readonly type?: string | readonly string[];
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly required?: readonly string[];
  readonly items?: JsonSchema;
}

/** A whole answer, determined before its first token is sent. */
export interface Answer {
  /** One JSON `delta` for each token. */
  readonly deltas: readonly string[];
  readonly message: Readonly<Record<string, unknown>>;
  readonly finish: 'stop' | 'length' | 'tool_calls' | 'content_filter';
  /** So many of the tokens are thoughts. */
  readonly thoughts?: number;
}

export function textOf(message: ChatMessage | undefined): string {
  if (message?.content === undefined || message.content === null) return '';
  if (typeof message.content === 'string') return message.content;
  return message.content.map((part) => part.text ?? '').join('');
}

/** The prompt as one text: what the tokens are counted and cached over. */
export function promptText(body: ChatBody): string {
  const tools = body.tools === undefined ? '' : JSON.stringify(body.tools);
  const said = body.messages.map((message) => {
    const calls = message.tool_calls === undefined ? '' : JSON.stringify(message.tool_calls);
    return `<${message.role}>${textOf(message)}${calls}\n`;
  });
  return tools + said.join('');
}

export function lastUserText(body: ChatBody): string {
  return textOf(body.messages.findLast((message) => message.role === 'user'));
}

/** `tokensMax` is what the context leaves; the request's own limit may be lower. */
export function composeAnswer(
  body: ChatBody,
  plan: Plan,
  prompt: string,
  tokensMax: number,
  tokensUsual: number,
): Answer {
  const answer = composeSaid(body, plan, prompt, tokensMax, tokensUsual);
  if (plan.think === undefined) return answer;
  const thoughts = tokenize(plan.think).map((token) => JSON.stringify({ reasoning_content: token }));
  return {
    ...answer,
    deltas: [...thoughts, ...answer.deltas],
    message: { ...answer.message, reasoning_content: plan.think },
    thoughts: thoughts.length,
  };
}

function composeSaid(body: ChatBody, plan: Plan, prompt: string, tokensMax: number, tokensUsual: number): Answer {
  const calls = chosenCalls(body, plan);
  const custom = new Set(body.tools?.map((tool) => tool.custom?.name));
  if (calls.length > 0) return composeCalls(calls, prompt, custom);
  if (plan.refusal !== undefined) return composeText(tokenize(plan.refusal), 'refusal', 'stop');
  const whole = rest(answerTokens(body, plan, prompt, tokensUsual), body);
  const limit = Math.min(tokensMax, body.max_completion_tokens ?? body.max_tokens ?? tokensMax);
  const stopped = cutAtStop(whole, body.stop);
  if (stopped.length > limit) return composeText(stopped.slice(0, limit), 'content', 'length');
  return composeText(stopped, 'content', plan.finish ?? 'stop');
}

/** What follows the answer that a trailing message of the assistant begins; all of it where that is no beginning. */
function rest(tokens: readonly string[], body: ChatBody): readonly string[] {
  const last = body.messages.at(-1);
  const begun = last?.role === 'assistant' && last.tool_calls === undefined ? textOf(last) : '';
  const text = tokens.join('');
  return begun !== '' && text.startsWith(begun) ? tokenize(text.slice(begun.length)) : tokens;
}

function answerTokens(body: ChatBody, plan: Plan, prompt: string, tokensUsual: number): string[] {
  if (plan.say !== undefined) return tokenize(plan.say);
  if (plan.echo === true) return tokenize(lastUserText(body));
  const format = body.response_format;
  if (format?.type === 'json_schema') return tokenize(JSON.stringify(sample(format.json_schema?.schema ?? {})));
  if (format?.type === 'json_object') return tokenize('{"answer":"simulated"}');
  const tokens = seededTokens(hashText(prompt), plan.tokens ?? tokensUsual);
  const { width } = plan;
  return width === undefined ? tokens : tokens.map((token) => token.padEnd(width, token).slice(0, width));
}

function cutAtStop(tokens: readonly string[], stop: ChatBody['stop']): readonly string[] {
  const stops = typeof stop === 'string' ? [stop] : (stop ?? []);
  if (stops.length === 0) return tokens;
  const text = tokens.join('');
  const places = stops.map((word) => text.indexOf(word)).filter((place) => place !== -1);
  return places.length === 0 ? tokens : tokenize(text.slice(0, Math.min(...places)));
}

function composeText(
  tokens: readonly string[],
  field: 'content' | 'refusal',
  finish: 'stop' | 'length' | 'content_filter',
): Answer {
  return {
    deltas: tokens.map((token) => `{"${field}":${JSON.stringify(token)}}`),
    message: { role: 'assistant', content: null, refusal: null, [field]: tokens.join('') },
    finish,
  };
}

/** Commanded calls of this round, or one that `tool_choice` forces; none where the client offered no tools. */
function chosenCalls(body: ChatBody, plan: Plan): readonly PlannedCall[] {
  if (body.tools === undefined || body.tools.length === 0 || body.tool_choice === 'none') return [];
  const lastUser = body.messages.findLastIndex((message) => message.role === 'user');
  const rounds = body.messages.slice(lastUser + 1).filter((message) => message.tool_calls !== undefined).length;
  if (plan.calls !== undefined) {
    if (body.parallel_tool_calls !== false) return plan.calls[rounds] ?? [];
    return plan.calls.flat().slice(rounds, rounds + 1);
  }
  if (rounds > 0 || body.tool_choice === undefined || body.tool_choice === null || body.tool_choice === 'auto')
    return [];
  const choice = body.tool_choice;
  const forced = typeof choice === 'string' ? undefined : (choice.function ?? choice.custom)?.name;
  const tool = body.tools.find((each) => (each.function ?? each.custom)?.name === forced) ?? body.tools[0];
  if (tool?.custom !== undefined) return [{ name: tool.custom.name, arguments: 'simulated' }];
  return tool?.function === undefined
    ? []
    : [{ name: tool.function.name, arguments: sample(tool.function.parameters ?? { type: 'object' }) }];
}

function composeCalls(calls: readonly PlannedCall[], prompt: string, custom: ReadonlySet<string | undefined>): Answer {
  const deltas: string[] = [];
  const whole = calls.map((call, index) => {
    const id = `call_${hashText(`${prompt}${index}`).toString(36)}`;
    if (custom.has(call.name)) return composeCustomCall({ index, id, call }, deltas);
    const text = JSON.stringify(call.arguments);
    const head = { index, id, type: 'function', function: { name: call.name, arguments: '' } };
    deltas.push(JSON.stringify({ tool_calls: [head] }));
    for (const piece of tokenize(text)) {
      deltas.push(JSON.stringify({ tool_calls: [{ index, function: { arguments: piece } }] }));
    }
    return { id, type: 'function', function: { name: call.name, arguments: text } };
  });
  return {
    deltas,
    message: { role: 'assistant', content: null, refusal: null, tool_calls: whole },
    finish: 'tool_calls',
  };
}

/** Of a custom tool, which is given any text. */
function composeCustomCall(
  { index, id, call }: { readonly index: number; readonly id: string; readonly call: PlannedCall },
  deltas: string[],
): object {
  const text = typeof call.arguments === 'string' ? call.arguments : JSON.stringify(call.arguments);
  deltas.push(JSON.stringify({ tool_calls: [{ index, id, type: 'custom', custom: { name: call.name, input: '' } }] }));
  for (const input of tokenize(text)) deltas.push(JSON.stringify({ tool_calls: [{ index, custom: { input } }] }));
  return { id, type: 'custom', custom: { name: call.name, input: text } };
}

/** The smallest value that fits a schema of the plain kind. */
function sample(schema: JsonSchema): unknown {
  if (schema.const !== undefined) return schema.const;
  if (schema.enum !== undefined) return schema.enum[0];
  const type = typeof schema.type === 'string' ? schema.type : (schema.type?.[0] ?? 'object');
  if (type === 'string') return 'simulated';
  if (type === 'number' || type === 'integer') return 1;
  if (type === 'boolean') return true;
  if (type === 'null') return null;
  if (type === 'array') return schema.items === undefined ? [] : [sample(schema.items)];
  const properties = Object.entries(schema.properties ?? {});
  return Object.fromEntries(properties.map(([name, property]) => [name, sample(property)]));
}
