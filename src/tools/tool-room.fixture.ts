import { systemClock } from '#base';
import type { SubjectId, TenantId } from '#access';
import { assistantSchema, readTools, type Release, type ReleaseDigest } from '#release';
import type { Telemetry } from '#telemetry';
import { openToolRoom, type ToolRoomOptions } from './open-tool-room.ts';
import type { ToolContext, ToolOutcome, ToolRoom, ToolSet } from './port.ts';

export const north = 'north' as TenantId;

/** The release of an assistant that declares these tools. @throws Error where they do not hold */
export function releaseWith(tools: readonly object[], documents: Readonly<Record<string, unknown>> = {}): Release {
  const file = assistantSchema.parse({ name: 'guide', tools });
  const read = readTools(file.tools, (path) => documents[path]);
  if (read.problems.length > 0) throw new Error(read.problems.map(({ message }) => message).join('\n'));
  const digest = `sha256:${JSON.stringify(tools)}` as ReleaseDigest;
  return { digest, spec: file.spec, instructions: 'Help.', passages: [], tools: read.tools };
}

type Called = Parameters<Telemetry['toolCalled']>[0];

/** A room with a real clock, and what it told. */
export interface ToldRoom extends AsyncDisposable {
  readonly room: ToolRoom;
  readonly called: Called[];
  readonly missing: string[];
  readonly unexpected: unknown[];
  tools(tools: readonly object[], documents?: Readonly<Record<string, unknown>>): Promise<ToolSet>;
}

export function toldRoom(options: Partial<ToolRoomOptions> = {}): ToldRoom {
  const called: Called[] = [];
  const missing: string[] = [];
  const unexpected: unknown[] = [];
  const room = openToolRoom({
    credentials: [],
    privateOrigins: [],
    clock: systemClock,
    telemetry: {
      toolCalled: (event) => void called.push(event),
      toolsMissing: ({ reason }) => void missing.push(reason),
      unexpected: ({ error }) => void unexpected.push(error),
    },
    ...options,
  });
  return {
    room,
    called,
    missing,
    unexpected,
    tools: (tools, documents) => room.of(releaseWith(tools, documents), north),
    [Symbol.asyncDispose]: () => room.close(),
  };
}

export function contextOf(changes: Partial<ToolContext> = {}): ToolContext {
  return {
    tenant: north,
    subject: 'ann' as SubjectId,
    assistant: 'guide',
    idempotencyKey: 'call-1',
    userAuthorisation: undefined,
    ...changes,
  };
}

export function call(
  set: ToolSet,
  name: string,
  given: unknown = {},
  changes: Partial<ToolContext> = {},
  signal: AbortSignal = new AbortController().signal,
): Promise<ToolOutcome> {
  return set.call(name, typeof given === 'string' ? given : JSON.stringify(given), contextOf(changes), signal);
}

/** The sentence of an outcome that must be a failure. */
export function messageOf(outcome: ToolOutcome): string {
  if (outcome.result === 'done') throw new Error(`the call succeeded: ${outcome.output}`);
  return outcome.message;
}
