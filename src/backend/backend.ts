export {
  BackendFailure,
  type AnswerEnd,
  type AnswerSink,
  type AttemptTimeouts,
  type Backend,
  type FailureKind,
  type FunctionTool,
  type LimitSignal,
  type ModelEvent,
  type ModelRequest,
  type PromptMessage,
  type PromptPart,
} from './port.ts';
export { openOpenAiBackend, type OpenAiBackendOptions } from './openai/openai-backend.ts';
