import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { ChatRequest } from './chat-request.ts';
import type { Llama, LlamaChat, LlamaGrammar, LlamaModel, LlamaRuntime, LlamaSequence } from './runtime-types.ts';

/** Enough for instructions, passages and some turns; more costs memory that a laptop may not have. */
const contextTokensMax = 8_192;
/** Where the request says nothing. Small models ramble above this. */
const usualTemperature = 0.7;
/** Tokens that a chat template adds around each message, generously. */
const tokensPerMessage = 8;

export interface Generated {
  readonly finish: 'stop' | 'length';
  readonly promptTokens: number;
  readonly cachedTokens: number;
  readonly completionTokens: number;
}

/** One loaded model with one sequence: one answer at a time, the common beginning of prompts kept. */
export interface LocalModel {
  readonly contextTokens: number;
  /** At least as many tokens as the prompt takes. */
  promptTokens(request: ChatRequest): number;
  generate(
    request: ChatRequest,
    tell: (text: string, isReasoning: boolean) => void,
    signal: AbortSignal,
  ): Promise<Generated>;
}

/** Loads the library from the folder it was installed into. @throws where it is not there or does not run here */
export async function loadRuntime(runtimeDir: string): Promise<{ runtime: LlamaRuntime; llama: Llama }> {
  const require = createRequire(join(runtimeDir, 'package.json'));
  const entry = pathToFileURL(require.resolve('node-llama-cpp')).href;
  const runtime = (await import(entry)) as LlamaRuntime;
  // Neither builds nor downloads: what was installed runs, or it does not.
  const llama = await runtime.getLlama({
    gpu: 'auto',
    build: 'never',
    skipDownload: true,
    progressLogs: false,
    logLevel: 'error',
    logger: () => undefined,
  });
  return { runtime, llama };
}

/** @throws where the file is no model that this library reads, or does not fit the memory */
export async function loadModel(
  { runtime, llama }: { readonly runtime: LlamaRuntime; readonly llama: Llama },
  modelPath: string,
  contextTokens: number | undefined,
): Promise<LocalModel> {
  const model = await llama.loadModel({ modelPath });
  // One core is left to the server. The library's own choice is four threads at the least, which
  // spin while they wait for one another: on two busy cores 0.2 tokens a second, with two threads
  // 4 to 7, with one 80.
  const context = await model.createContext({
    contextSize: contextTokens ?? { max: contextTokensMax },
    sequences: 1,
    threads: Math.max(llama.cpuMathCores - 1, 1),
  });
  const sequence = context.getSequence();
  const chat = new runtime.LlamaChat({ contextSequence: sequence });
  const limit = Math.min(context.contextSize, model.trainContextSize);
  return {
    contextTokens: limit,
    promptTokens: (request) => countPrompt(model, request),
    generate: async (request, tell, signal) =>
      generate({ llama, chat, sequence, roomTokens: limit - countPrompt(model, request) }, request, tell, signal),
  };
}

function countPrompt(model: LlamaModel, request: ChatRequest): number {
  return request.history.reduce((sum, item) => {
    const text = item.type === 'model' ? item.response.join('') : item.text;
    return sum + model.tokenize(text).length + tokensPerMessage;
  }, 0);
}

interface Engine {
  readonly llama: Llama;
  readonly chat: LlamaChat;
  readonly sequence: LlamaSequence;
  readonly roomTokens: number;
}

async function generate(
  { llama, chat, sequence, roomTokens }: Engine,
  request: ChatRequest,
  tell: (text: string, isReasoning: boolean) => void,
  signal: AbortSignal,
): Promise<Generated> {
  const { usedInputTokens, usedOutputTokens } = sequence.tokenMeter;
  const grammar = await grammarFor(llama, request);
  const response = await chat.generateResponse(request.history, {
    onResponseChunk: (chunk) => tell(chunk.text, chunk.type === 'segment'),
    signal,
    stopOnAbortSignal: true,
    // Within the context: beyond it the library would drop the beginning, unsaid.
    maxTokens: Math.max(Math.min(request.maxTokens ?? roomTokens, roomTokens), 1),
    temperature: request.temperature ?? usualTemperature,
    topP: request.topP ?? 1,
    minP: 0.05,
    ...(request.seed === undefined ? {} : { seed: request.seed }),
    ...(request.stop.length === 0 ? {} : { customStopTriggers: request.stop }),
    ...(grammar === undefined ? {} : { grammar }),
  });
  const completionTokens = sequence.tokenMeter.usedOutputTokens - usedOutputTokens;
  const readTokens = sequence.tokenMeter.usedInputTokens - usedInputTokens;
  const promptTokens = Math.max(sequence.nextTokenIndex - completionTokens, readTokens);
  return {
    finish: response.metadata.stopReason === 'maxTokens' ? 'length' : 'stop',
    promptTokens,
    cachedTokens: promptTokens - readTokens,
    completionTokens,
  };
}

async function grammarFor(llama: Llama, request: ChatRequest): Promise<LlamaGrammar | undefined> {
  if (request.format === undefined) return undefined;
  return request.format === 'json' ? llama.getGrammarFor('json') : llama.createGrammarForJsonSchema(request.format);
}
