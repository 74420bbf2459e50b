/** Vectors of texts, in the order of the texts; all of one length. */
export interface Embedded {
  readonly vectors: readonly Float32Array[];
  /** As the server counted them; 0 where it told none. */
  readonly inputTokens: number;
}

export interface EmbeddingOptions {
  /** Numbers in each vector; absent: as many as the model has. */
  readonly dimensions?: number;
}

/** One embedding model at one endpoint with one credential. */
export interface EmbeddingBackend {
  /** What applications ask for. */
  readonly name: string;
  /** What is said of it in the terminal: `text-embedding-3-small at api.openai.com`. */
  readonly description: string;
  /** What the server calls the model: only vectors of one model can be compared. */
  readonly model: string;
  /**
   * Aborting `signal` destroys the connection and rejects with `aborted`.
   * @throws BackendFailure
   */
  embed(texts: readonly string[], options: EmbeddingOptions, signal: AbortSignal): Promise<Embedded>;
  close(): Promise<void>;
}
