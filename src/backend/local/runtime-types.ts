/**
 * The part of `node-llama-cpp` 3.22 that the host uses. The package is installed only when asked
 * for, so its own types are not there when this compiles; the end-to-end test with a real model
 * holds these to the truth.
 */
export interface LlamaRuntime {
  getLlama(options: {
    readonly gpu: 'auto';
    readonly build: 'never';
    readonly skipDownload: true;
    readonly progressLogs: false;
    readonly logLevel: 'error';
    readonly logger: (level: string, message: string) => void;
  }): Promise<Llama>;
  readonly LlamaChat: new (options: { readonly contextSequence: LlamaSequence }) => LlamaChat;
}

export interface Llama {
  /** Cores that are of use for arithmetic. */
  readonly cpuMathCores: number;
  loadModel(options: { readonly modelPath: string }): Promise<LlamaModel>;
  getGrammarFor(type: 'json'): Promise<LlamaGrammar>;
  createGrammarForJsonSchema(schema: object): Promise<LlamaGrammar>;
}

export interface LlamaModel {
  readonly trainContextSize: number;
  tokenize(text: string): readonly number[];
  createContext(options: {
    readonly contextSize: number | { readonly max: number };
    readonly sequences: number;
    readonly threads: number;
  }): Promise<LlamaContext>;
}

export interface LlamaContext {
  readonly contextSize: number;
  getSequence(): LlamaSequence;
}

export interface LlamaSequence {
  readonly nextTokenIndex: number;
  readonly tokenMeter: { readonly usedInputTokens: number; readonly usedOutputTokens: number };
}

export type LlamaGrammar = object;

export type LlamaHistoryItem =
  | { readonly type: 'system' | 'user'; readonly text: string }
  | { readonly type: 'model'; readonly response: readonly string[] };

export interface LlamaChat {
  generateResponse(history: readonly LlamaHistoryItem[], options: LlamaGenerateOptions): Promise<LlamaResponse>;
}

export interface LlamaGenerateOptions {
  readonly onResponseChunk: (chunk: { readonly type: 'segment' | undefined; readonly text: string }) => void;
  readonly signal: AbortSignal;
  readonly stopOnAbortSignal: true;
  readonly maxTokens: number;
  readonly temperature: number;
  readonly topP: number;
  readonly minP: number;
  readonly seed?: number;
  readonly customStopTriggers?: readonly string[];
  readonly grammar?: LlamaGrammar;
}

export interface LlamaResponse {
  readonly metadata: {
    readonly stopReason:
      | 'eogToken'
      | 'stopGenerationTrigger'
      | 'functionCalls'
      | 'maxTokens'
      | 'abort'
      | 'customStopTrigger';
  };
}
