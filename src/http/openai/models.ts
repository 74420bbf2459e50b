import type { ListedAssistant } from '#release';
import { UsherError } from '#base';
import type { TurnRooms } from '#turn';
import type { Exchange, Route } from '../exchange.ts';
import { talkPolicy } from './talk-policy.ts';

/** On this wire a model is an assistant, plain or in a named environment. */
export function modelRoutes(rooms: TurnRooms): Route[] {
  return [
    {
      method: 'GET',
      path: '/v1/models',
      policy: talkPolicy,
      summary: 'Lists the assistants that the caller may talk to, each plain and by environment.',
      answer: 'A list of `model` objects.',
      handle: async (exchange) => list(rooms, exchange),
    },
    {
      method: 'GET',
      path: '/v1/models/:model',
      policy: talkPolicy,
      summary: 'One assistant: `<assistant>`, `<assistant>@<environment>` or `<assistant>@<digest>`.',
      answer: 'A `model` object.',
      handle: (exchange) => retrieve(rooms, exchange),
    },
  ];
}

function list(rooms: TurnRooms, exchange: Exchange): void {
  const data = visible(rooms, exchange).flatMap((listed) => {
    const names = listed.environments.map(({ environment }) => `${listed.assistant}@${environment}`);
    return [listed.assistant, ...names].map((name) => writeModel(listed, name));
  });
  exchange.sendJson(200, { object: 'list', data });
}

async function retrieve(rooms: TurnRooms, exchange: Exchange): Promise<void> {
  const name = exchange.params['model']!;
  const { principal } = exchange;
  // Before it is looked up: a refusal names the nearest assistants, which a person is not told of.
  if (principal.kind === 'user' && name.split('@')[0] !== principal.assistant) throw noModel();
  const target = await rooms.releases.resolve(principal.tenant, name);
  const listed = visible(rooms, exchange).find(({ assistant }) => assistant === target.assistant);
  if (listed === undefined) throw noModel();
  exchange.sendJson(200, writeModel(listed, name));
}

/** An end user's token is for one assistant. */
function visible(rooms: TurnRooms, exchange: Exchange): readonly ListedAssistant[] {
  const { principal } = exchange;
  const listed = rooms.releases.list(principal.tenant);
  return principal.kind === 'key' ? listed : listed.filter(({ assistant }) => assistant === principal.assistant);
}

function noModel(): UsherError {
  return new UsherError('not_found', 'There is no such model.', { param: 'model' });
}

function writeModel(listed: ListedAssistant, id: string): object {
  return { id, object: 'model', created: Math.floor(listed.loadedAtMs / 1000), owned_by: 'usher' };
}
