import { admit } from '../admit.ts';
import { makeRoomFor, recall } from '../recall.ts';
import { resolve } from '../resolve.ts';
import type { TurnRooms } from '../turn-rooms.ts';
import { openTurnTools } from '../answer/turn-tools.ts';
import type { TurnRequest } from '../turn-steps.ts';

/**
 * The tokens that a model would read for this request: instructions, knowledge, history and tools as
 * a turn would put them before it. Estimated, as the balancer does. Nothing is stored and no model asked.
 *
 * @throws UsherError as a turn would, before it started
 */
export async function countInputTokens(rooms: TurnRooms, request: TurnRequest): Promise<number> {
  const planned = await resolve(rooms, admit(rooms, request, true));
  try {
    const prompted = await recall(rooms, planned);
    const { functions } = await openTurnTools(rooms, prompted);
    return makeRoomFor(functions, prompted).promptTokens;
  } finally {
    planned.release();
  }
}
