import type { TurnRooms } from '#turn';
import type { Route } from '../exchange.ts';
import { chatCompletionRoutes } from './chat-completions.ts';
import { conversationRoutes } from './conversations.ts';
import { embeddingRoutes, type EmbeddingModels } from './embeddings.ts';
import { modelRoutes } from './models.ts';
import { responseRoutes } from './responses.ts';
import { storedCompletionRoutes } from './stored-completions.ts';

/** The data plane: any OpenAI client works by changing its base URL. */
export function openAiRoutes(rooms: TurnRooms, embeddings: EmbeddingModels): Route[] {
  return [
    ...chatCompletionRoutes(rooms),
    ...storedCompletionRoutes(rooms),
    ...responseRoutes(rooms),
    ...conversationRoutes(rooms),
    ...embeddingRoutes(rooms, embeddings),
    ...modelRoutes(rooms, embeddings),
  ];
}
