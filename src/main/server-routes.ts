import type { UserTokens } from '#control';
import {
  adminRoutes,
  openAiRoutes,
  pageRoutes,
  probeRoutes,
  uiRoutes,
  type EmbeddingModels,
  type ProbeOptions,
  type Route,
} from '#http';
import type { TurnRooms } from '#turn';

export interface RouteParts {
  readonly rooms: TurnRooms;
  readonly embeddings: EmbeddingModels;
  readonly tokens: UserTokens;
  /** Which model answers, in a sentence. */
  readonly models: string;
  readonly probes: ProbeOptions;
}

/**
 * Every route that a node serves, by its roles: probes and metrics on each. Making the table uses no
 * part but `rooms.roles`: tests and the reference read it alone.
 */
export function serverRoutes({ rooms, embeddings, tokens, models, probes }: RouteParts): Route[] {
  return [
    ...(rooms.roles.has('gateway')
      ? [...openAiRoutes(rooms, embeddings), ...uiRoutes(rooms), ...pageRoutes({ rooms, tokens, models })]
      : []),
    ...(rooms.roles.has('control') ? adminRoutes(rooms) : []),
    ...probeRoutes(probes),
  ];
}
