import { listNodes } from '#control';
import { listAudit, type TurnRooms } from '#turn';
import type { Policy, Route } from '../exchange.ts';
import { keyOf } from '../key-of.ts';
import { readQuery } from '../openai/read-body.ts';
import { handoverRoutes, pageSchema } from './handover-routes.ts';

/** Nodes are of all tenants. */
const observePolicy: Policy = { access: 'principal', kinds: ['key'], scope: 'observe' };
/** What was done is of one tenant. */
const managePolicy: Policy = { access: 'principal', kinds: ['key'], scope: 'manage' };

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
    {
      method: 'GET',
      path: '/admin/audit',
      policy: managePolicy,
      summary:
        'What was done in the tenant, newest first: keys made and revoked, tokens made for persons, handovers looked at and answered, the root key changed.',
      query: pageSchema,
      answer: '`{"records":[{"id","atMs","actor","action","target"}],"hasMore":…}`.',
      handle: async (exchange) => {
        const { limit, after } = readQuery(pageSchema, exchange.query);
        const page = { limit, ...(after === undefined ? {} : { after }) };
        const { records, hasMore } = await listAudit(rooms, keyOf(exchange), page);
        exchange.sendJson(200, { records: records.map(({ tenant: _tenant, ...rest }) => rest), hasMore });
      },
    },
    ...handoverRoutes(rooms),
  ];
}
