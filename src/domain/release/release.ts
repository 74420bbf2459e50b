export type { AssistantSpec, ModelParameters, Passage, Release, ReleaseDigest } from './spec.ts';
