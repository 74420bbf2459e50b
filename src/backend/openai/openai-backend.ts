import { BackendFailure } from '../port.ts';
import type { AnswerEnd, AnswerSink, AttemptTimeouts, Backend, ModelRequest } from '../port.ts';
import { openEgress, type Egress } from '#egress';
import { descriptionOf, endpointOf, type Endpoint, type EndpointOptions } from './endpoint.ts';
import { exchange, type Refusal } from './exchange.ts';
import { statusFailure } from './failure.ts';
import { fetchJson } from './fetch-json.ts';
import { wireRequest, type Continuation, type Dialect } from './wire-request.ts';

export interface OpenAiBackendOptions extends EndpointOptions {
  /** What people are told: `gpt-4.1-mini at api.openai.com`; made of model and host where absent. */
  readonly description?: string;
  /** How it is asked to go on with an answer; `none` where absent. */
  readonly continuation?: Continuation | undefined;
}

/** An endpoint and how its answers are asked for. */
interface ChatEndpoint extends Endpoint {
  readonly continuation: Continuation;
}

const probeMs = 10_000;

/**
 * A backend that speaks Chat Completions: OpenAI, Azure OpenAI, vLLM, Ollama, llama.cpp, LM Studio
 * and their like. Opens no connection before it is asked.
 * @throws UsherError `config_invalid`
 */
export function openOpenAiBackend(options: OpenAiBackendOptions): Backend {
  const endpoint: ChatEndpoint = { ...endpointOf(options), continuation: options.continuation ?? 'none' };
  const egress = openEgress(new URL(options.url));
  let dialect: Dialect = {
    includeUsage: true,
    tokensField: options.kind === 'openai-compatible' ? 'max_tokens' : 'max_completion_tokens',
    takesReasoning: options.kind === 'openai-compatible',
  };
  return {
    name: options.name,
    description: options.description ?? descriptionOf(options),
    continues: endpoint.continuation !== 'none',
    answer: async (request, sink, timeouts, signal) => {
      const answered = await ask(endpoint, egress, dialect, { request, sink, timeouts, signal });
      dialect = answered.dialect;
      return answered.end;
    },
    probe: async (signal) => {
      const wire = { method: 'GET', path: endpoint.path('models'), headers: endpoint.headers } as const;
      return { models: modelIds(await fetchJson(endpoint.place, egress, wire, probeMs, signal)) };
    },
    close: () => egress.close(),
  };
}

interface Question {
  readonly request: ModelRequest;
  readonly sink: AnswerSink;
  readonly timeouts: AttemptTimeouts;
  readonly signal: AbortSignal;
}

/** Asks; where the server refuses an optional parameter, asks once more without, in the time that is left. */
async function ask(
  endpoint: ChatEndpoint,
  egress: Egress,
  dialect: Dialect,
  question: Question,
): Promise<{ readonly end: AnswerEnd; readonly dialect: Dialect }> {
  const startMs = performance.now();
  let current = dialect;
  // One retry for each of what can be adapted.
  for (let adaptations = 0; ; adaptations++) {
    const spentMs = adaptations === 0 ? 0 : performance.now() - startMs;
    const result = await exchange({
      place: endpoint.place,
      egress,
      request: {
        method: 'POST',
        path: endpoint.modelPath('chat/completions'),
        headers: endpoint.headers,
        body: wireRequest(question.request, modelFor(endpoint, question.request), current, endpoint.continuation),
      },
      sink: question.sink,
      timeouts: { ...question.timeouts, wholeMs: Math.max(question.timeouts.wholeMs - spentMs, 1) },
      signal: question.signal,
    });
    if (result.type === 'answered') return { end: result.end, dialect: current };
    const adapted = adaptations < 3 ? adapt(current, result.refusal) : undefined;
    if (adapted === undefined) throw refusalFailure(endpoint, result.refusal);
    current = adapted;
  }
}

/** The dialect that avoids what was refused; undefined where the refusal is about something else. */
function adapt(dialect: Dialect, refusal: Refusal): Dialect | undefined {
  if (dialect.includeUsage && /stream_options|include_usage/.test(refusal.body)) {
    return { ...dialect, includeUsage: false };
  }
  if (dialect.takesReasoning && /reasoning_content/.test(refusal.body)) return { ...dialect, takesReasoning: false };
  const isUnknown = /unsupported|unrecognized|unknown|not supported|not permitted|extra_forbidden/i.test(refusal.body);
  if (!isUnknown || !new RegExp(`\\b${dialect.tokensField}\\b`).test(refusal.body)) return undefined;
  const tokensField = dialect.tokensField === 'max_tokens' ? 'max_completion_tokens' : 'max_tokens';
  return { ...dialect, tokensField };
}

function refusalFailure(endpoint: Endpoint, refusal: Refusal): BackendFailure {
  const failure = statusFailure(endpoint.place, refusal.status, refusal.body, refusal.limits);
  const isKeyEchoed = endpoint.apiKey !== undefined && failure.backendCode?.includes(endpoint.apiKey) === true;
  return isKeyEchoed ? statusFailure(endpoint.place, refusal.status, '', refusal.limits) : failure;
}

function modelFor(endpoint: Endpoint, request: ModelRequest): string | undefined {
  return endpoint.model === undefined ? undefined : (request.model ?? endpoint.model);
}

/** `{data: [{id}]}` of OpenAI's wire; anything else is an empty list. */
function modelIds(list: unknown): readonly string[] {
  const data = (list as { readonly data?: unknown } | null)?.data;
  if (!Array.isArray(data)) return [];
  return data.map((entry: { readonly id?: unknown } | null) => entry?.id).filter((id) => typeof id === 'string');
}
