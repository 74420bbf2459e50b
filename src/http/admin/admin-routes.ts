import { listNodes } from '#control';
import type { TurnRooms } from '#turn';
import type { Policy, Route } from '../exchange.ts';
import { handoverRoutes } from './handover-routes.ts';

/** Nodes are of all tenants. */
const observePolicy: Policy = { access: 'principal', kinds: ['key'], scope: 'observe' };

/** What operators ask a control node. */
export function adminRoutes(rooms: TurnRooms): Route[] {
  return [
    {
      method: 'GET',
      path: '/admin/nodes',
      policy: observePolicy,
      summary: 'The nodes that share the database: roles, version, last sign of life, and which snapshot each serves.',
      answer:
        '`{"newestRevision":…,"nodes":[…]}`; the `state` of a node is `serving`, `draining`, or `gone` where it was not heard of for ten seconds.',
      handle: async (exchange) => exchange.sendJson(200, await listNodes(rooms.store.system)),
    },
    ...handoverRoutes(rooms),
  ];
}
