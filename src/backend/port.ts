import type { ModelParameters, Passage } from '#release';
import type { Usage } from '#conversation';

/** What a model is asked, in the shape that every chat model understands. */
export interface ModelRequest {
  readonly messages: readonly PromptMessage[];
  /** Overrides the backend's own model name. */
  readonly model?: string;
  readonly parameters: ModelParameters;
  /** What an application sent beside all that is known here, for backends that know it. */
  readonly extra?: Readonly<Record<string, unknown>>;
  readonly tools?: readonly FunctionTool[];
  readonly toolChoice?: 'auto' | 'none' | 'required' | { readonly name: string; readonly custom?: true };
  readonly parallelCalls?: boolean;
  /** The text of the answer so far: what is asked for is only what follows it. */
  readonly continueFrom?: string;
  readonly format?:
    | { readonly type: 'json' }
    | { readonly type: 'schema'; readonly name: string; readonly schema: object; readonly strict: boolean };
  /** Retrieved knowledge, already part of `messages`; the knowledge-only answerer quotes it. */
  readonly passages: readonly RetrievedPassage[];
  /** Titles of the documents that the assistant has, for the knowledge-only answerer to name. */
  readonly topics?: readonly string[];
  /** The person's own last words, for the knowledge-only answerer. */
  readonly question: string;
  /** Nobody's question: what answers without a model refuses it. */
  readonly byModel?: true;
}

export interface RetrievedPassage extends Passage {
  /** How well it fits, comparable within one search; absent where a turn goes on with what was found before. */
  readonly score?: number;
}

export type PromptPart =
  | { readonly type: 'text'; readonly text: string }
  | { readonly type: 'image'; readonly url: string; readonly detail?: 'auto' | 'low' | 'high' | 'original' };

export type PromptMessage =
  | {
      readonly role: 'system' | 'user';
      readonly content: string | readonly PromptPart[];
      /** Who of several speaks. */
      readonly name?: string;
    }
  | {
      readonly role: 'assistant';
      readonly content: string;
      readonly name?: string;
      /** What the model thought on its way, for models that want it back between their calls. */
      readonly reasoning?: string;
      readonly calls?: readonly PromptCall[];
    }
  | { readonly role: 'tool'; readonly callId: string; readonly content: string };

export interface PromptCall {
  readonly callId: string;
  readonly name: string;
  readonly arguments: string;
  readonly custom?: true;
}

export interface FunctionTool {
  readonly name: string;
  readonly description?: string;
  readonly parameters?: object;
  readonly strict?: boolean;
  /** Takes any text, or one of a grammar, in place of JSON; the form as Chat Completions writes it. */
  readonly custom?: { readonly format?: object };
}

/** One piece of an answer, as it arrives. */
export type ModelEvent =
  /** `logprobs`: of its tokens, as the backend told them. */
  | { readonly type: 'text'; readonly text: string; readonly logprobs?: readonly unknown[] }
  | { readonly type: 'refusal'; readonly text: string }
  /** What the model thinks before it answers. */
  | { readonly type: 'reasoning'; readonly text: string }
  /** `index` tells parallel calls apart; `callId` and `name` come with the first piece of each. */
  | {
      readonly type: 'call';
      readonly index: number;
      readonly callId?: string;
      readonly name?: string;
      /** Of a custom tool: the arguments are any text. */
      readonly custom?: true;
      readonly arguments: string;
    }
  | {
      readonly type: 'cited';
      readonly source: string;
      readonly title: string;
      readonly start: number;
      readonly end: number;
    };

/** What a backend says of its own limits (`x-ratelimit-*`, `Retry-After`); durations from now. */
export interface LimitSignal {
  readonly requestsRemaining?: number;
  readonly requestsResetMs?: number;
  readonly tokensRemaining?: number;
  readonly tokensResetMs?: number;
  readonly retryAfterMs?: number;
}

export interface AnswerSink {
  /** Headers are in: status 200 and the limits said there. Called once, before any event. */
  head?(limits: LimitSignal): void;
  /** A returned promise is backpressure: the backend reads no further until it settles. */
  event(event: ModelEvent): void | Promise<void>;
}

export interface AnswerEnd {
  readonly finish: 'stop' | 'length' | 'call' | 'filtered';
  /** Undefined where the backend reported none. */
  readonly usage: Usage | undefined;
}

/** Time-outs of one attempt, in milliseconds. */
export interface AttemptTimeouts {
  readonly connectMs: number;
  readonly firstTokenMs: number;
  readonly betweenTokensMs: number;
  readonly wholeMs: number;
}

/** One model endpoint with one credential. */
export interface Backend {
  readonly name: string;
  /** What is said of it in the terminal and on the page: `gpt-4.1-mini at api.openai.com`. */
  readonly description: string;
  /** Whether it can go on with an answer that another began: `continueFrom` is for such alone. */
  readonly continues?: boolean;
  /**
   * Asks for one answer and tells it piece by piece. Always streamed on the wire.
   * Aborting `signal` destroys the connection within 100 ms and rejects with `aborted`.
   * @throws BackendFailure
   */
  answer(request: ModelRequest, sink: AnswerSink, timeouts: AttemptTimeouts, signal: AbortSignal): Promise<AnswerEnd>;
  /** A cheap question whether it serves, for `usher doctor` and start-up. @throws BackendFailure */
  probe(signal: AbortSignal): Promise<{ readonly models: readonly string[] }>;
  close(): Promise<void>;
}

/** Where an attempt broke. */
export type FailureKind =
  /** No connection, or it was refused. */
  | 'connect'
  /** Status 429: the backend's own limit. */
  | 'limited'
  /** Status 5xx, 408 or 425, or 200 with an error told in its body or stream. */
  | 'server'
  /** Any other 4xx: this request is wrong for every backend of its kind. */
  | 'refused'
  /** 401, 403, 404, a redirect: the owner's configuration is wrong (key, model name, address). */
  | 'misconfigured'
  | 'timeout'
  /** The stream ended without its end marker. */
  | 'cut'
  /** Bytes that are not the OpenAI wire. */
  | 'garbage'
  | 'aborted';

export class BackendFailure extends Error {
  override readonly name = 'BackendFailure';
  readonly kind: FailureKind;
  readonly backend: string;
  readonly status: number | undefined;
  readonly limits: LimitSignal;
  /** The backend's own `code` (`context_length_exceeded`), where it gave one. */
  readonly backendCode: string | undefined;

  constructor(
    kind: FailureKind,
    backend: string,
    message: string,
    details: { status?: number; limits?: LimitSignal; backendCode?: string; cause?: unknown } = {},
  ) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.kind = kind;
    this.backend = backend;
    this.status = details.status;
    this.limits = details.limits ?? {};
    this.backendCode = details.backendCode;
  }
}
