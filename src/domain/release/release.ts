export type { AssistantSpec, ModelParameters, Passage, Release, ReleaseDigest } from './spec.ts';
export type { ListedAssistant, ReleaseDirectory, ServedRelease, Target } from './directory.ts';
export { assistantJsonSchema, assistantSchema, type AssistantFile } from './schema.ts';
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
