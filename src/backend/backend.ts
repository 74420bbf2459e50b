export {
  BackendFailure,
  type AnswerEnd,
  type AnswerSink,
  type AttemptTimeouts,
  type Backend,
  type FailureKind,
  type RetrievedPassage,
  type FunctionTool,
  type LimitSignal,
  type ModelEvent,
  type ModelRequest,
  type PromptMessage,
  type PromptPart,
} from './port.ts';
export type { EmbeddingBackend } from './embedding-backend.ts';
export { openOpenAiEmbeddings } from './openai/openai-embeddings.ts';
export { dimensionsRefused } from './openai/read-embeddings.ts';
export { openOpenAiBackend, type OpenAiBackendOptions } from './openai/openai-backend.ts';
export { openKnowledgeBackend, type KnowledgeBackendOptions } from './knowledge/knowledge-backend.ts';
export { detectLocalServers, type LocalServer } from './detect.ts';
export { downloadModel, type DownloadOptions } from './local/download-model.ts';
export { installLocalRuntime, isRuntimeInstalled, type InstallOptions } from './local/install-runtime.ts';
export { openLocalBackend, type LocalBackendOptions } from './local/local-backend.ts';
