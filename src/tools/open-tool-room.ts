import { LRUCache } from 'lru-cache';
import type { Clock } from '#base';
import type { TenantId } from '#access';
import type { Release } from '#release';
import type { Telemetry } from '#telemetry';
import { CallRates } from './call-rates.ts';
import { callTool, type CallRooms } from './call-tool.ts';
import { httpTool } from './http/http-tool.ts';
import { McpServer } from './mcp/mcp-server.ts';
import type { ToolCredential, ToolRoom, ToolSet } from './port.ts';
import type { RunnableTool } from './runnable-tool.ts';
import { ToolWays } from './tool-ways.ts';

export interface ToolRoomOptions {
  readonly credentials: readonly ToolCredential[];
  /** Origins that tools may reach although they are no public ones. */
  readonly privateOrigins: readonly string[];
  readonly clock: Clock;
  readonly telemetry: Pick<Telemetry, 'toolCalled' | 'toolsMissing' | 'unexpected'>;
}

/** What is kept ready of one release. */
interface ReadyTools {
  readonly own: readonly RunnableTool[];
  readonly servers: readonly McpServer[];
}

const releasesMax = 256;

/** The tools that Usher runs for assistants. Nothing is called before a model asks, but for the listing of a server. */
export function openToolRoom(options: ToolRoomOptions): ToolRoom {
  const { clock, telemetry } = options;
  const privateOrigins = new Set(options.privateOrigins);
  const credentials = new Map(options.credentials.map((credential) => [credential.name, credential]));
  const ways = new ToolWays(privateOrigins);
  const rooms: CallRooms = { clock, telemetry, rates: new CallRates() };
  const ready = new LRUCache<string, ReadyTools>({ max: releasesMax });

  const prepare = (release: Release, tenant: TenantId): ReadyTools => {
    const authority = { tenant, credentials, privateOrigins };
    const way = (origin: string) => ways.to(origin);
    const own: RunnableTool[] = [];
    const servers: McpServer[] = [];
    for (const tool of release.tools ?? []) {
      if (tool.kind === 'http') {
        own.push(httpTool(tool, way, authority));
        continue;
      }
      const onMissing = (reason: string): void =>
        telemetry.toolsMissing({ tenant, assistant: release.spec.name, source: tool.label, reason });
      servers.push(new McpServer(tool, { clock, way, authority, onMissing }));
    }
    return { own, servers };
  };

  return {
    async of(release, tenant) {
      if (release.tools === undefined || release.tools.length === 0) return noTools;
      const key = `${tenant}\0${release.digest}`;
      const known = ready.get(key) ?? prepare(release, tenant);
      ready.set(key, known);
      const listed = await Promise.all(known.servers.map((server) => server.tools()));
      return toolSet(rooms, [...known.own, ...listed.flat()]);
    },
    async close() {
      await Promise.all([...ready.values()].flatMap(({ servers }) => servers.map((server) => server.close())));
      await ways.close();
    },
  };
}

const noTools: ToolSet = {
  tools: [],
  call: async (name) => ({ result: 'failed', message: `There is no tool "${name.slice(0, 64)}".` }),
};

function toolSet(rooms: CallRooms, runnable: readonly RunnableTool[]): ToolSet {
  const byName = new Map(runnable.map((tool) => [tool.shown.name, tool]));
  return {
    tools: runnable.map(({ shown }) => shown),
    call: async (name, argumentsJson, context, signal) => {
      const tool = byName.get(name);
      if (tool === undefined) {
        return {
          result: 'failed',
          message: `There is no tool "${name.slice(0, 64)}". There are: ${[...byName.keys()].join(', ')}.`,
        };
      }
      return callTool(rooms, tool, argumentsJson, context, signal);
    },
  };
}
