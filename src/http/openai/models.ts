import type { ListedAssistant } from '#release';
import { UsherError } from '#base';
import type { TurnRooms } from '#turn';
import type { Exchange, Route } from '../exchange.ts';
import type { EmbeddingModels } from './embeddings.ts';
import { talkPolicy } from './talk-policy.ts';

/** On this wire a model is an assistant, plain or in a named environment, or an embedding model. */
export function modelRoutes(rooms: TurnRooms, embeddings: EmbeddingModels): Route[] {
  return [
    {
      method: 'GET',
      path: '/v1/models',
      policy: talkPolicy,
      summary:
        'Lists the assistants that the caller may talk to, each plain and by environment; for keys also the embedding models.',
      answer: 'A list of `model` objects.',
      handle: async (exchange) => list(rooms, embeddings, exchange),
    },
    {
      method: 'GET',
      path: '/v1/models/:model',
      policy: talkPolicy,
      summary:
        'One assistant: `<assistant>`, `<assistant>@<environment>` or `<assistant>@<digest>`; or one embedding model.',
      answer: 'A `model` object.',
      handle: (exchange) => retrieve(rooms, embeddings, exchange),
    },
  ];
}

function list(rooms: TurnRooms, embeddings: EmbeddingModels, exchange: Exchange): void {
  const assistants = visible(rooms, exchange).flatMap((listed) => {
    const names = listed.environments.map(({ environment }) => `${listed.assistant}@${environment}`);
    return [listed.assistant, ...names].map((name) => writeModel(listed, name));
  });
  const data = [...assistants, ...visibleEmbeddings(rooms, embeddings, exchange).map(writeEmbeddingModel)];
  exchange.sendJson(200, { object: 'list', data });
}

async function retrieve(rooms: TurnRooms, embeddings: EmbeddingModels, exchange: Exchange): Promise<void> {
  const name = exchange.params['model']!;
  const { principal } = exchange;
  // Before it is looked up: a refusal names the nearest assistants, which a person is not told of.
  if (principal.kind === 'user' && name.split('@')[0] !== principal.assistant) throw noModel();
  if (visibleEmbeddings(rooms, embeddings, exchange).includes(name)) {
    exchange.sendJson(200, writeEmbeddingModel(name));
    return;
  }
  const target = await rooms.releases.resolve(principal.tenant, name);
  const listed = visible(rooms, exchange).find(({ assistant }) => assistant === target.assistant);
  if (listed === undefined) throw noModel();
  exchange.sendJson(200, writeModel(listed, name));
}

/** Of applications alone; where an assistant has the name as well, it is the assistant's. */
function visibleEmbeddings(rooms: TurnRooms, embeddings: EmbeddingModels, exchange: Exchange): readonly string[] {
  if (exchange.principal.kind !== 'key') return [];
  const assistants = new Set(visible(rooms, exchange).map(({ assistant }) => assistant));
  return [...embeddings.keys()].filter((name) => !assistants.has(name));
}

/** An end user's token is for one assistant. */
function visible(rooms: TurnRooms, exchange: Exchange): readonly ListedAssistant[] {
  const { principal } = exchange;
  const listed = rooms.releases.list(principal.tenant);
  return principal.kind === 'key' ? listed : listed.filter(({ assistant }) => assistant === principal.assistant);
}

function noModel(): UsherError {
  return new UsherError('model_not_found', 'There is no such model.', { param: 'model' });
}

function writeModel(listed: ListedAssistant, id: string): object {
  return { id, object: 'model', created: Math.floor(listed.loadedAtMs / 1000), owned_by: 'usher' };
}

/** Its age is nobody's to know; every node says the same. */
function writeEmbeddingModel(id: string): object {
  return { id, object: 'model', created: 0, owned_by: 'usher' };
}
