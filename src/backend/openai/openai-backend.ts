import { UsherError } from '#base';
import { BackendFailure } from '../port.ts';
import type { AnswerEnd, AnswerSink, AttemptTimeouts, Backend, ModelRequest } from '../port.ts';
import { openEgress, type Egress } from '#egress';
import { exchange, type Refusal } from './exchange.ts';
import { statusFailure, type Place } from './failure.ts';
import { fetchJson } from './fetch-json.ts';
import { wireRequest, type Continuation, type Dialect } from './wire-request.ts';

export interface OpenAiBackendOptions {
  readonly name: string;
  /** What people are told: `gpt-4.1-mini at api.openai.com`; made of model and host where absent. */
  readonly description?: string;
  readonly kind: 'openai' | 'azure-openai' | 'openai-compatible';
  /** Base address up to and including `/v1`. Azure: the resource's address. */
  readonly url: string;
  /** Needed but for Azure's deployments. */
  readonly model?: string | undefined;
  readonly apiKey?: string | undefined;
  /** Azure only: the deployment's name. */
  readonly deployment?: string | undefined;
  /** Azure only; absent for its version-less `/openai/v1` addresses. */
  readonly apiVersion?: string | undefined;
  /** How it is asked to go on with an answer; `none` where absent. */
  readonly continuation?: Continuation | undefined;
}

/** Where and how one endpoint is spoken to. */
interface Endpoint {
  readonly place: Place;
  readonly answerPath: string;
  readonly modelsPath: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Undefined where the address names the model. */
  readonly model: string | undefined;
  readonly apiKey: string | undefined;
  readonly continuation: Continuation;
}

const probeMs = 10_000;

/**
 * A backend that speaks Chat Completions: OpenAI, Azure OpenAI, vLLM, Ollama, llama.cpp, LM Studio
 * and their like. Opens no connection before it is asked.
 * @throws UsherError `config_invalid`
 */
export function openOpenAiBackend(options: OpenAiBackendOptions): Backend {
  const endpoint = endpointOf(options);
  const egress = openEgress(new URL(options.url));
  let dialect: Dialect = {
    includeUsage: true,
    tokensField: options.kind === 'openai-compatible' ? 'max_tokens' : 'max_completion_tokens',
  };
  return {
    name: options.name,
    description:
      options.description ?? `${options.model ?? options.deployment ?? 'model'} at ${new URL(options.url).host}`,
    continues: endpoint.continuation !== 'none',
    answer: async (request, sink, timeouts, signal) => {
      const answered = await ask(endpoint, egress, dialect, { request, sink, timeouts, signal });
      dialect = answered.dialect;
      return answered.end;
    },
    probe: async (signal) => {
      const wire = { method: 'GET', path: endpoint.modelsPath, headers: endpoint.headers } as const;
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
  endpoint: Endpoint,
  egress: Egress,
  dialect: Dialect,
  question: Question,
): Promise<{ readonly end: AnswerEnd; readonly dialect: Dialect }> {
  const startMs = performance.now();
  let current = dialect;
  // One retry for each of the two parameters that can be adapted.
  for (let adaptations = 0; ; adaptations++) {
    const spentMs = adaptations === 0 ? 0 : performance.now() - startMs;
    const result = await exchange({
      place: endpoint.place,
      egress,
      request: {
        method: 'POST',
        path: endpoint.answerPath,
        headers: endpoint.headers,
        body: wireRequest(question.request, modelFor(endpoint, question.request), current, endpoint.continuation),
      },
      sink: question.sink,
      timeouts: { ...question.timeouts, wholeMs: Math.max(question.timeouts.wholeMs - spentMs, 1) },
      signal: question.signal,
    });
    if (result.type === 'answered') return { end: result.end, dialect: current };
    const adapted = adaptations < 2 ? adapt(current, result.refusal) : undefined;
    if (adapted === undefined) throw refusalFailure(endpoint, result.refusal);
    current = adapted;
  }
}

/** The dialect that avoids what was refused; undefined where the refusal is about something else. */
function adapt(dialect: Dialect, refusal: Refusal): Dialect | undefined {
  if (dialect.includeUsage && /stream_options|include_usage/.test(refusal.body)) {
    return { ...dialect, includeUsage: false };
  }
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

function endpointOf(options: OpenAiBackendOptions): Endpoint {
  const url = baseUrl(options);
  const base = url.pathname.replace(/\/+$/, '');
  const shared = {
    place: { backend: options.name, origin: url.origin },
    headers: headersOf(options),
    apiKey: options.apiKey,
    continuation: options.continuation ?? 'none',
  };
  if (options.kind === 'azure-openai' && !base.endsWith('/v1')) {
    return { ...shared, ...azurePaths(base, options), model: undefined };
  }
  const model = options.model ?? options.deployment;
  if (model === undefined) throw invalid(options.name, 'has no model: name one under `model`, or in OPENAI_MODEL');
  return { ...shared, answerPath: `${base}/chat/completions`, modelsPath: `${base}/models`, model };
}

function azurePaths(base: string, options: OpenAiBackendOptions): Pick<Endpoint, 'answerPath' | 'modelsPath'> {
  const deployment = options.deployment ?? options.model;
  if (deployment === undefined) throw invalid(options.name, 'has no deployment: name one under `deployment`');
  if (options.apiVersion === undefined) {
    throw invalid(options.name, 'has no `apiVersion`: give one (`2024-10-21`), or a url that ends with /openai/v1');
  }
  const root = base.endsWith('/openai') ? base : `${base}/openai`;
  const version = `?api-version=${encodeURIComponent(options.apiVersion)}`;
  return {
    answerPath: `${root}/deployments/${encodeURIComponent(deployment)}/chat/completions${version}`,
    modelsPath: `${root}/models${version}`,
  };
}

function baseUrl(options: OpenAiBackendOptions): URL {
  const url = URL.canParse(options.url) ? new URL(options.url) : undefined;
  if (url === undefined || !['http:', 'https:'].includes(url.protocol)) {
    throw invalid(options.name, 'has a url that is no http or https address');
  }
  if (url.username !== '' || url.password !== '' || url.search !== '' || url.hash !== '') {
    throw invalid(options.name, 'has a url with a credential, query or fragment: keep scheme, host and path only');
  }
  return url;
}

function headersOf(options: OpenAiBackendOptions): Record<string, string> {
  const headers: Record<string, string> = {
    'content-type': 'application/json',
    accept: 'text/event-stream, application/json',
    'accept-encoding': 'identity',
    'user-agent': 'usher',
  };
  if (options.apiKey === undefined || options.apiKey === '') return headers;
  if (!/^[\x21-\x7e]+$/.test(options.apiKey)) {
    throw invalid(options.name, 'has an API key with spaces or characters outside ASCII: copy it anew');
  }
  if (options.kind === 'azure-openai') headers['api-key'] = options.apiKey;
  else headers['authorization'] = `Bearer ${options.apiKey}`;
  return headers;
}

function invalid(name: string, what: string): UsherError {
  return new UsherError('config_invalid', `Backend "${name}" ${what}.`);
}

/** `{data: [{id}]}` of OpenAI's wire; anything else is an empty list. */
function modelIds(list: unknown): readonly string[] {
  const data = (list as { readonly data?: unknown } | null)?.data;
  if (!Array.isArray(data)) return [];
  return data.map((entry: { readonly id?: unknown } | null) => entry?.id).filter((id) => typeof id === 'string');
}
