export type { AssistantSpec, ModelParameters, Passage, Release, ReleaseDigest, ScoredPassage } from './spec.ts';
export type { ListedAssistant, ReleaseDirectory, ServedRelease, Target } from './directory.ts';
export {
  assistantJsonSchema,
  assistantSchema,
  compactBudgetMin,
  completeContext,
  type AssistantFile,
} from './schema.ts';
export {
  canonicalFile,
  checkFiles,
  insidePath,
  isIgnored,
  isReleased,
  misnamedEntry,
  releaseDigest,
  releaseLimits,
  tooLarge,
  type ReleaseFile,
} from './release-files.ts';
export { readTools } from './read-tools.ts';
export { sourceToolName } from './tool-name.ts';
export {
  functionNamePattern,
  type ArgumentPlace,
  type HttpTool,
  type McpServerTools,
  type ReleaseTool,
  type ToolAuthority,
  type ToolPolicy,
} from './tool-spec.ts';
export type { ToolFile } from './tool-schema.ts';
export { openArgumentCheck, type ArgumentCheck } from './argument-check.ts';
export { openJsonSchema } from './json-schema.ts';
