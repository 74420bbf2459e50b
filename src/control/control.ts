export { openAuthenticator, type Authenticator, type AuthenticatorParts } from './authenticate.ts';
export { manageKeys, type ApiKeyView, type KeyManagement, type NewApiKey } from './manage-keys.ts';
export { rotateRoot, type RotationReport, type RotationStep } from './rotate-root.ts';
export { openUserTokens, type MintedToken, type UserGrant, type UserTokens, type Visitor } from './user-tokens.ts';
export { loadAssistantFolder, type LoadedFolder, type LoadOptions } from './load-assistant-folder.ts';
export {
  openReleaseDirectory,
  type FolderReleaseDirectory,
  type LoadedRelease,
  type RejectedRelease,
  type Reload,
} from './release-directory.ts';
export { scaffoldAssistant } from './scaffold-assistant.ts';
export { watchAssistants, type WatchOptions } from './watch-assistants.ts';
export { readyMadeKey } from './ready-made-key.ts';
