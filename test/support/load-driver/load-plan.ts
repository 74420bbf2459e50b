/** What to send, when, and within which bounds. JSON-safe, since it travels to another process. */
export interface LoadPlan {
  readonly url: string;
  readonly method?: 'GET' | 'POST';
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  /** Requests are sent at times fixed beforehand, whatever the server does. */
  readonly ratePerSecond: number;
  /** Default `constant`; `poisson` draws the gaps from `seed`. */
  readonly arrival?: 'constant' | 'poisson';
  readonly seed?: number;
  /** Requests in all; at most a million. */
  readonly count: number;
  /** Connections at most; a request that finds none free waits, and its wait counts. Default: no limit. */
  readonly connectionsMax?: number;
  /** Each request's, from its intended time. Default 60 seconds. */
  readonly timeoutMs?: number;
  /** Reads each answer at most this fast, to be a slow reader. */
  readonly readBytesPerSecond?: number;
}

/** Milliseconds. */
export interface Quantiles {
  readonly count: number;
  readonly mean: number;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
}

export interface LoadProgress {
  readonly sent: number;
  readonly open: number;
  readonly done: number;
  readonly failed: number;
  /** Server-sent events received. */
  readonly events: number;
}

/** All times but `fromSend` count from the moment a request was meant to be sent. */
export interface LoadReport extends LoadProgress {
  readonly bytes: number;
  readonly seconds: number;
  /** By `http_429`, `timeout`, `ECONNRESET`, `cut` … */
  readonly errors: Readonly<Record<string, number>>;
  /** Headers are in. */
  readonly firstByte: Quantiles;
  /** The first words of a stream are in. Empty for answers that are no stream. */
  readonly firstToken: Quantiles;
  /** The whole answer is in. Failed requests count too, by the time they took to fail. */
  readonly whole: Quantiles;
  /** First token (else first byte) counted from the real send: what the server alone took. */
  readonly fromSend: Quantiles;
  /** How late this driver itself was; above some milliseconds it is the bottleneck. */
  readonly lag: Quantiles;
}
