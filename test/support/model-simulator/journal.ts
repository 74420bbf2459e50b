/** What the simulator saw of one request. Times are milliseconds since the epoch, with fractions. */
export interface JournalEntry {
  readonly id: number;
  readonly at: number;
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  /** Parsed where it was JSON, else the text. */
  readonly body: unknown;
  promptTokens: number;
  cachedTokens: number;
  /** Answer tokens generated, sent or not. */
  tokens: number;
  firstTokenAt: number | undefined;
  endedAt: number | undefined;
  /** `done`: whole answer sent. `aborted`: the client left first. `faulted`: a commanded failure ended it. */
  end: 'done' | 'aborted' | 'faulted' | 'refused' | undefined;
  status: number | undefined;
  /** Sequences running when this one began, itself included. */
  active: number;
}

export interface JournalTotals {
  requests: number;
  tokens: number;
  aborted: number;
  active: number;
  activeMax: number;
  connections: number;
  connectionsOpened: number;
  cacheBlocks: number;
}

/** Bounded memory of requests, and totals that are always kept. */
export class Journal {
  readonly totals: JournalTotals = {
    requests: 0,
    tokens: 0,
    aborted: 0,
    active: 0,
    activeMax: 0,
    connections: 0,
    connectionsOpened: 0,
    cacheBlocks: 0,
  };
  readonly #max: number;
  #entries: JournalEntry[] = [];

  constructor(max: number) {
    this.#max = max;
  }

  open(request: Pick<JournalEntry, 'method' | 'path' | 'headers' | 'body'>): JournalEntry {
    this.totals.requests += 1;
    const entry: JournalEntry = {
      id: this.totals.requests,
      at: epochMs(),
      ...request,
      promptTokens: 0,
      cachedTokens: 0,
      tokens: 0,
      firstTokenAt: undefined,
      endedAt: undefined,
      end: undefined,
      status: undefined,
      active: 0,
    };
    if (this.#max > 0) this.#entries.push(entry);
    // Trimmed by halves, so that the cost of a long run stays constant per request.
    if (this.#entries.length > this.#max * 2) this.#entries = this.#entries.slice(-this.#max);
    return entry;
  }

  close(entry: JournalEntry, end: NonNullable<JournalEntry['end']>): void {
    if (entry.end !== undefined) return;
    entry.end = end;
    entry.endedAt = epochMs();
    if (end === 'aborted') this.totals.aborted += 1;
  }

  /** The remembered requests, oldest first. */
  entries(): readonly JournalEntry[] {
    return this.#max === 0 ? [] : this.#entries.slice(-this.#max);
  }

  forget(): void {
    this.#entries = [];
    this.totals.activeMax = this.totals.active;
  }
}

/** Milliseconds since the epoch with fractions; comparable between processes of one machine. */
export function epochMs(): number {
  return performance.timeOrigin + performance.now();
}
