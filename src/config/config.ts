export { loadConfig, type LoadedConfig } from './load-config.ts';
export { configJsonSchema } from './config-schema.ts';
export { formatConfigProblem, type ConfigProblem } from './problems.ts';
export { knowledgeOnly, settleModels, type FoundServer } from './settle-models.ts';
export type {
  AssistantConfig,
  BackendConfig,
  Config,
  ModelSource,
  PoolConfig,
  Secrets,
  TenantConfig,
  ToolCredentialConfig,
} from './server-config.ts';
export { environmentVariables, isPort, ownEnvironment, parseRoles, rolesWanted, type Flags } from './surroundings.ts';
