import type { TenantConfig } from '#config';
import type { UserTokens } from '#control';
import { openAiRoutes, pageRoutes, probeRoutes, type ProbeOptions, type Route } from '#http';
import type { TurnRooms } from '#turn';

export interface RouteParts {
  readonly rooms: TurnRooms;
  readonly tenants: readonly TenantConfig[];
  readonly tokens: UserTokens;
  /** Which model answers, in a sentence. */
  readonly models: string;
  readonly probes: ProbeOptions;
}

/** Every route that a node serves. Making the table uses no part but `tenants`: tests and the reference read it alone. */
export function serverRoutes({ rooms, tenants, tokens, models, probes }: RouteParts): Route[] {
  return [...openAiRoutes(rooms), ...pageRoutes({ rooms, tenants, tokens, models }), ...probeRoutes(probes)];
}
