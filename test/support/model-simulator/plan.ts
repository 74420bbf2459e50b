/** One failure of the field. `after` counts answer tokens sent before it strikes. */
export type Fault =
  /** The connection is reset as soon as the request is in. */
  | { readonly kind: 'reset' }
  /** An HTTP error before anything else. */
  | {
      readonly kind: 'status';
      readonly status: number;
      readonly code?: string;
      readonly message?: string;
      readonly retryAfterMs?: number;
    }
  /** Status 200 with an error object for a body. */
  | { readonly kind: 'error-body' }
  /** An error object in the stream. */
  | { readonly kind: 'error-event'; readonly after: number }
  /** Nothing at all is answered until the command `release`; then the answer is an ordinary one. */
  | { readonly kind: 'hang' }
  /** Nothing more comes after `after` tokens (0: headers only) until the command `release`. */
  | { readonly kind: 'stall'; readonly after: number }
  /**
   * The answer breaks off: the connection closed (`fin`), reset (`reset`), or the body ended in
   * form but without its last event (`end`).
   */
  | { readonly kind: 'cut'; readonly after: number; readonly how: 'fin' | 'reset' | 'end' }
  /** Bytes that are no event stream and no JSON. */
  | { readonly kind: 'garbage'; readonly after: number }
  /** Tokens without end. */
  | { readonly kind: 'endless' }
  /** One line without end. */
  | { readonly kind: 'endless-line' };

export interface PlannedCall {
  readonly name: string;
  readonly arguments: unknown;
}

/** What is special about one answer; everything absent is ordinary. */
export interface Plan {
  readonly say?: string;
  /** What it thinks before it answers, or before its calls. */
  readonly think?: string;
  readonly echo?: boolean;
  /** Length of the answer in tokens. */
  readonly tokens?: number;
  /** Characters of each token of an answer that nothing else determines, for large chunks. */
  readonly width?: number;
  readonly refusal?: string;
  readonly finish?: 'content_filter';
  /** Tool calls by round: the first round's calls, those after its results are back, and so on. */
  readonly calls?: readonly (readonly PlannedCall[])[];
  readonly tokenMs?: number;
  /** Wait before the headers. */
  readonly delayMs?: number;
  /** The headers come one byte at a time, this far apart. */
  readonly slowHeadersMs?: number;
  /** Every write carries at most `max` bytes; with a seed, 1 to `max` at random. */
  readonly slice?: { readonly max: number; readonly seed?: number };
  /** Lines end in CR LF. */
  readonly crlf?: boolean;
  /** A comment line before each event, as some gateways send to keep a connection open. */
  readonly comments?: boolean;
  readonly fault?: Fault;
}

type Arguments = Readonly<Record<string, string>>;

const count = (args: Arguments, name: string, otherwise: number): number => Number(args[name] ?? otherwise);

function statusFault(status: number, code: string, args: Arguments): Plan {
  return {
    fault: {
      kind: 'status',
      status,
      code,
      ...(args['retry-after-ms'] === undefined ? {} : { retryAfterMs: Number(args['retry-after-ms']) }),
    },
  };
}

const commands: Readonly<Record<string, (rest: string, args: Arguments) => Plan>> = {
  say: (rest) => ({ say: rest }),
  think: (rest) => ({ think: rest }),
  echo: () => ({ echo: true }),
  tokens: (rest) => ({ tokens: Number(rest) }),
  width: (rest) => ({ width: Number(rest) }),
  refusal: (rest) => ({ refusal: rest }),
  filtered: () => ({ finish: 'content_filter' }),
  pace: (rest) => ({ tokenMs: Number(rest) }),
  delay: (rest) => ({ delayMs: Number(rest) }),
  'slow-headers': (rest) => ({ slowHeadersMs: Number(rest) }),
  slice: (_rest, args) => ({
    slice: { max: count(args, 'max', 1), ...(args.seed === undefined ? {} : { seed: Number(args.seed) }) },
  }),
  crlf: () => ({ crlf: true }),
  comments: () => ({ comments: true }),
  reset: () => ({ fault: { kind: 'reset' } }),
  status: (rest, args) => statusFault(Number.parseInt(rest, 10), args.code ?? 'simulated', args),
  '401': (_rest, args) => statusFault(401, 'invalid_api_key', args),
  '404': (_rest, args) => statusFault(404, 'model_not_found', args),
  '429': (_rest, args) => statusFault(429, 'rate_limit_exceeded', args),
  '500': (_rest, args) => statusFault(500, 'server_error', args),
  context_length_exceeded: (_rest, args) => statusFault(400, 'context_length_exceeded', args),
  'error-body': () => ({ fault: { kind: 'error-body' } }),
  'error-event': (_rest, args) => ({ fault: { kind: 'error-event', after: count(args, 'after', 0) } }),
  hang: () => ({ fault: { kind: 'hang' } }),
  stall: (_rest, args) => ({ fault: { kind: 'stall', after: count(args, 'after', 0) } }),
  cut: (_rest, args) => ({
    fault: {
      kind: 'cut',
      after: count(args, 'after', 0),
      how: args.how === 'reset' || args.how === 'end' ? args.how : 'fin',
    },
  }),
  garbage: (_rest, args) => ({ fault: { kind: 'garbage', after: count(args, 'after', 0) } }),
  endless: () => ({ fault: { kind: 'endless' } }),
  'endless-line': () => ({ fault: { kind: 'endless-line' } }),
};

const marker = /\[\[sim:([\w-]+)\s*([\s\S]*?)\]\]/gu;

/**
 * Reads the commands in a message: `[[sim:cut after=5 how=reset]]`, `[[sim:call weather {"city":"Bern"}]]`.
 * Several add up. `[[sim:then]]` starts the next round of calls.
 * @throws Error on a command that does not exist, so that a misspelt test does not pass.
 */
export function readMarkers(text: string): Plan {
  const plan: Plan = {};
  const rounds: PlannedCall[][] = [[]];
  for (const [, name = '', rest = ''] of text.matchAll(marker)) {
    if (name === 'then') rounds.push([]);
    else if (name === 'call') rounds.at(-1)?.push(readCall(rest));
    else Object.assign(plan, readCommand(name, rest));
  }
  return rounds[0]?.length === 0 ? plan : { ...plan, calls: rounds };
}

/** The same from a header, without the brackets: `cut after=5; pace 10`. */
export function readHeader(text: string): Plan {
  const found = text.split(';').map((part) => /^\s*([\w-]+)\s*(.*?)\s*$/u.exec(part));
  return Object.assign({}, ...found.map((part) => readCommand(part?.[1] ?? '', part?.[2] ?? ''))) as Plan;
}

function readCommand(name: string, rest: string): Plan {
  const command = commands[name];
  if (command === undefined) throw new Error(`the simulator has no command "${name}"`);
  const args = Object.fromEntries(
    [...rest.matchAll(/([\w-]+)=(\S+)/gu)].map(([, key = '', value = '']) => [key, value]),
  );
  return command(rest, args);
}

function readCall(rest: string): PlannedCall {
  const [, name = '', json = ''] = /^(\S+)\s*([\s\S]*)$/u.exec(rest.trim()) ?? [];
  return { name, arguments: json === '' ? {} : JSON.parse(json) };
}
