/** What the parent tells the child that runs the model. The token never appears on a command line. */
export interface HostStart {
  readonly modelPath: string;
  /** Undefined: what the model was trained on, within what `host.ts` thinks sensible. */
  readonly contextTokens: number | undefined;
  /** The folder that `node-llama-cpp` was installed into. */
  readonly runtimeDir: string;
  /** Bearer token that each request must show. */
  readonly token: string;
}

/** What the child answers, once. */
export type HostReply =
  | { readonly type: 'ready'; readonly port: number; readonly contextTokens: number }
  | { readonly type: 'failed'; readonly reason: 'runtime' | 'model' | 'memory' };
