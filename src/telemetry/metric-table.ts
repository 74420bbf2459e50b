/** One metric as `/metrics` shows it. */
export interface MetricDescription {
  readonly name: string;
  readonly kind: 'counter' | 'gauge' | 'histogram';
  readonly help: string;
  readonly labels: readonly string[];
  /** Upper bounds of a histogram's buckets, in its unit. */
  readonly buckets?: readonly number[];
}

const requestSeconds = [0.001, 0.005, 0.02, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 300];
const tokenSeconds = [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2];
const answerSeconds = [0.1, 0.25, 0.5, 1, 2, 4, 8, 16, 32, 64, 128, 300];

/** Every metric of ours; Node's process metrics (`process_*`, `nodejs_*`) stand beside them. */
export const metricTable = {
  build: {
    name: 'usher_build_info',
    kind: 'gauge',
    help: 'Always 1; its label tells which version runs.',
    labels: ['version'],
  },
  requests: {
    name: 'usher_http_requests_total',
    kind: 'counter',
    help: 'Requests that ended, by route pattern and status; 499 where the client left before an answer.',
    labels: ['method', 'route', 'status'],
  },
  requestSeconds: {
    name: 'usher_http_request_duration_seconds',
    kind: 'histogram',
    help: 'From the last header of a request to the last byte of its answer, streams included.',
    labels: ['route'],
    buckets: requestSeconds,
  },
  refusals: {
    name: 'usher_http_refused_connections_total',
    kind: 'counter',
    help: 'Connections closed by the edge: over the cap, not HTTP, headers too large, or too slow to send or read.',
    labels: ['reason'],
  },
  turns: {
    name: 'usher_turns_total',
    kind: 'counter',
    help: 'Turns that ended, by how; `code` says why a failed one failed.',
    labels: ['tenant', 'assistant', 'environment', 'state', 'code'],
  },
  turnSeconds: {
    name: 'usher_turn_duration_seconds',
    kind: 'histogram',
    help: 'From admission to record.',
    labels: ['assistant', 'environment'],
    buckets: answerSeconds,
  },
  firstTokenSeconds: {
    name: 'usher_turn_first_token_seconds',
    kind: 'histogram',
    help: 'From admission to the first token of the answer.',
    labels: ['assistant', 'environment'],
    buckets: tokenSeconds,
  },
  tokens: {
    name: 'usher_tokens_total',
    kind: 'counter',
    help: 'Tokens of turns that ended. `cached_input` is part of `input`, `reasoning` part of `output`.',
    labels: ['tenant', 'assistant', 'type'],
  },
  takeovers: {
    name: 'usher_turns_taken_over_total',
    kind: 'counter',
    help: 'Turns of lost nodes that this node went on with.',
    labels: ['assistant'],
  },
  handovers: {
    name: 'usher_handovers_total',
    kind: 'counter',
    help: 'Conversations that went to a person or came back from them, and messages that a person answered.',
    labels: ['assistant', 'event'],
  },
  compactions: {
    name: 'usher_compactions_total',
    kind: 'counter',
    help: 'Summaries of the older part of a conversation, by result.',
    labels: ['assistant', 'result'],
  },
  staleWrites: {
    name: 'usher_stale_writes_total',
    kind: 'counter',
    help: 'Writes that were refused since another node holds the turn.',
    labels: ['result'],
  },
  attempts: {
    name: 'usher_backend_attempts_total',
    kind: 'counter',
    help: 'Calls of model backends that ended, by how.',
    labels: ['backend', 'result'],
  },
  attemptSeconds: {
    name: 'usher_backend_attempt_duration_seconds',
    kind: 'histogram',
    help: 'From a call of a backend to its end.',
    labels: ['backend'],
    buckets: answerSeconds,
  },
  attemptFirstTokenSeconds: {
    name: 'usher_backend_first_token_seconds',
    kind: 'histogram',
    help: 'From a call of a backend to its first token.',
    labels: ['backend'],
    buckets: tokenSeconds,
  },
  inFlight: {
    name: 'usher_backend_in_flight',
    kind: 'gauge',
    help: 'Calls under way on a backend.',
    labels: ['pool', 'backend'],
  },
  breaker: {
    name: 'usher_backend_breaker',
    kind: 'gauge',
    help: '1 for the state that the breaker of a backend is in, 0 for the others.',
    labels: ['pool', 'backend', 'state'],
  },
  toolCalls: {
    name: 'usher_tool_calls_total',
    kind: 'counter',
    help: 'Calls of tools that Usher ran, by how they ended; `refused` before anything was sent.',
    labels: ['assistant', 'source', 'tool', 'result'],
  },
  toolSeconds: {
    name: 'usher_tool_call_duration_seconds',
    kind: 'histogram',
    help: 'From a call of a tool to its result.',
    labels: ['assistant', 'source'],
    buckets: requestSeconds,
  },
  toolsMissing: {
    name: 'usher_tool_listings_failed_total',
    kind: 'counter',
    help: 'Times that a server did not list its tools, so that they were missing.',
    labels: ['assistant', 'source'],
  },
  embeddings: {
    name: 'usher_embedding_requests_total',
    kind: 'counter',
    help: 'Requests for vectors of texts that ended: `done`, or where they broke.',
    labels: ['tenant', 'model', 'result'],
  },
  embeddingTokens: {
    name: 'usher_embedding_tokens_total',
    kind: 'counter',
    help: 'Tokens of texts that were turned into vectors.',
    labels: ['tenant', 'model'],
  },
  embeddingSeconds: {
    name: 'usher_embedding_duration_seconds',
    kind: 'histogram',
    help: 'From a request for vectors to its end at the model.',
    labels: ['model'],
    buckets: requestSeconds,
  },
  passages: {
    name: 'usher_release_passages',
    kind: 'gauge',
    help: 'Knowledge passages of the release loaded last.',
    labels: ['assistant', 'environment'],
  },
  releases: {
    name: 'usher_releases_total',
    kind: 'counter',
    help: 'Releases that were loaded, and edits that were rejected so that the last good one serves on.',
    labels: ['assistant', 'result'],
  },
  nodes: {
    name: 'usher_nodes',
    kind: 'gauge',
    help: 'Nodes that share the database, by state; `gone`: not heard of for ten seconds.',
    labels: ['state'],
  },
  snapshotRevision: {
    name: 'usher_snapshot_revision',
    kind: 'gauge',
    help: 'Revision of the snapshot of what is served: the `newest`, and the one that this node has `applied`.',
    labels: ['which'],
  },
  snapshots: {
    name: 'usher_snapshots_total',
    kind: 'counter',
    help: 'Snapshots that this node `applied`, or `refused` so that the last good one serves on.',
    labels: ['result'],
  },
  keyRejections: {
    name: 'usher_credentials_rejected_total',
    kind: 'counter',
    help: 'Credentials that opened nothing, by why.',
    labels: ['reason'],
  },
  storeFailures: {
    name: 'usher_store_failures_total',
    kind: 'counter',
    help: 'Operations that the database could not do.',
    labels: ['operation', 'code'],
  },
  defects: {
    name: 'usher_defects_total',
    kind: 'counter',
    help: 'Errors that nobody foresaw; each one is in the log with its stack.',
    labels: ['where'],
  },
} as const satisfies Record<string, MetricDescription>;

export type MetricKey = keyof typeof metricTable;

/** The table that the reference page is made of, in the order of `/metrics`. */
export function metricDescriptions(): readonly MetricDescription[] {
  return Object.values(metricTable);
}
