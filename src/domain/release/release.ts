export type { AssistantSpec, ModelParameters, Passage, Release, ReleaseDigest } from './spec.ts';
export type { ListedAssistant, ReleaseDirectory, ServedRelease, Target } from './directory.ts';
