import { EventSourceParserStream } from 'eventsource-parser/stream';
import { CommandFailure } from './command-context.ts';

/** One conversation over the HTTP API. */
export interface ChatClient {
  readonly url: string;
  readonly assistant: string;
  /**
   * Answers the calls that a person has to agree to before it goes on.
   * @throws CommandFailure with the server's own sentence; rejects when `signal` aborts.
   */
  ask(said: string | readonly Decision[], hear: Hearing, signal: AbortSignal): Promise<readonly AskedCall[]>;
  /** Forgets what was said. */
  begin(): void;
}

export interface Hearing {
  readonly piece: (text: string) => void;
  /** A person can answer from now on, and is waited for. */
  readonly waiting: () => void;
}

/** A call that a person has to agree to. */
export interface AskedCall {
  readonly id: string;
  readonly name: string;
  readonly arguments: string;
}

export interface Decision {
  readonly call: AskedCall;
  readonly approve: boolean;
}

interface WireEvent {
  readonly type: string;
  readonly item_id?: string;
  readonly delta?: string;
  readonly message?: string;
  readonly item?: Partial<AskedCall> & { readonly type: string; readonly server_label?: string };
  readonly response?: {
    readonly id: string;
    readonly error?: { readonly message?: string } | null;
    readonly incomplete_details?: { readonly reason?: string } | null;
  };
}

/** @throws CommandFailure when nothing answers there, the key does not hold, or there is no such assistant. */
export async function openChatClient(options: {
  readonly url: string;
  readonly apiKey: string;
  readonly assistant: string | undefined;
}): Promise<ChatClient> {
  const { url, apiKey } = options;
  const listed = await call(url, apiKey, '/v1/models', undefined, AbortSignal.timeout(10_000));
  const { data } = (await listed.json()) as { readonly data: readonly { readonly id: string }[] };
  const names = data.map(({ id }) => id);
  const assistant = options.assistant ?? names[0];
  if (assistant === undefined) throw new CommandFailure(`the server at ${url} serves no assistant`);
  if (!names.includes(assistant) && !names.includes(assistant.replace(/@.*$/, ''))) {
    throw new CommandFailure(`there is no assistant "${assistant}" at ${url}; it serves ${names.join(', ')}`);
  }
  let previous: string | undefined;
  return {
    url,
    assistant,
    begin: () => {
      previous = undefined;
    },
    ask: async (said, hear, signal) => {
      const chained = previous === undefined ? {} : { previous_response_id: previous };
      const body = { model: assistant, input: inputOf(said), stream: true, ...chained };
      const response = await call(url, apiKey, '/v1/responses', body, signal);
      const ended = await relay(response, hear, signal);
      previous = ended.id;
      return ended.asked;
    },
  };
}

function inputOf(said: string | readonly Decision[]): string | readonly object[] {
  if (typeof said === 'string') return said;
  return said.map(({ call: { id }, approve }) => ({ type: 'mcp_approval_response', approval_request_id: id, approve }));
}

/** Answers the id that what is said next follows, and what the person is asked. */
async function relay(
  response: Response,
  hear: Hearing,
  signal: AbortSignal,
): Promise<{ readonly id: string; readonly asked: readonly AskedCall[] }> {
  if (response.body === null) throw cutOff();
  const events = response.body.pipeThrough(new TextDecoderStream()).pipeThrough(new EventSourceParserStream());
  const asked: AskedCall[] = [];
  let hasSpoken = false;
  let handover: string | undefined;
  for await (const { data } of events) {
    signal.throwIfAborted();
    const event = data === '[DONE]' ? undefined : (JSON.parse(data) as WireEvent);
    switch (event?.type) {
      case 'response.output_text.delta':
      case 'response.refusal.delta':
        hear.piece(event.delta ?? '');
        hasSpoken = true;
        break;
      case 'response.output_item.added':
        if (event.item?.type === 'message' && hasSpoken) hear.piece('\n\n');
        if (event.item?.server_label === 'usher' && event.item.name === 'hand_over') handover = event.item.id;
        break;
      case 'response.mcp_call.in_progress':
        if (event.item_id === handover) hear.waiting();
        break;
      case 'response.output_item.done':
        if (event.item?.type === 'mcp_approval_request') asked.push(event.item as AskedCall);
        break;
      case 'response.completed':
        return { id: event.response?.id ?? '', asked };
      case 'response.incomplete':
        throw new CommandFailure(
          `the answer is not whole (${event.response?.incomplete_details?.reason ?? 'cut short'})`,
        );
      case 'response.failed':
        throw new CommandFailure(event.response?.error?.message ?? 'the answer failed; try again');
      case 'error':
        throw new CommandFailure(event.message ?? 'the answer failed; try again');
      default:
    }
  }
  throw cutOff();
}

function cutOff(): CommandFailure {
  return new CommandFailure('the connection broke before the answer was whole; ask again');
}

async function call(
  url: string,
  apiKey: string,
  path: string,
  body: object | undefined,
  signal: AbortSignal,
): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(`${url}${path}`, {
      method: body === undefined ? 'GET' : 'POST',
      headers: { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal,
    });
  } catch (error) {
    if (signal.aborted && signal.reason instanceof DOMException && signal.reason.name === 'AbortError') throw error;
    throw new CommandFailure(`nothing answers at ${url}; start a server with: usher dev`, [], { cause: error });
  }
  if (response.ok) return response;
  const said = ((await response.json().catch(() => ({}))) as { readonly error?: { readonly message?: string } }).error;
  throw new CommandFailure(said?.message ?? `the server at ${url} answered with status ${response.status}`);
}
