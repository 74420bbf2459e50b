import { randomFillSync } from 'node:crypto';

declare const brand: unique symbol;
/** A string that only its own maker may produce. */
export type Branded<T, Name extends string> = T & { readonly [brand]: Name };

const prefixes = {
  conversation: 'conv',
  turn: 'turn',
  message: 'msg',
  call: 'fc',
  result: 'fco',
  tool: 'mcp',
  approvalRequest: 'mcpr',
  approval: 'mcpa',
  reasoning: 'rs',
  handover: 'ho',
  compaction: 'cmp',
  search: 'fs',
  feedback: 'fb',
  key: 'key',
  visitor: 'visitor',
  request: 'req',
  audit: 'aud',
  node: 'node',
} as const;

export type IdKind = keyof typeof prefixes;
export type Id<Kind extends IdKind> = Branded<string, Kind>;

const pool = new Uint8Array(10 * 256);
let poolOffset = pool.length;

/**
 * A new id, `prefix_` + 12 hex digits of wall time + 20 random hex digits (80 bits), so that ids
 * sort by age (kind to database indexes) and cannot be guessed.
 */
export function newId<Kind extends IdKind>(kind: Kind, wallMs: number = Date.now()): Id<Kind> {
  if (poolOffset === pool.length) {
    randomFillSync(pool);
    poolOffset = 0;
  }
  const random = Buffer.from(pool.buffer, poolOffset, 10).toString('hex');
  poolOffset += 10;
  return `${prefixes[kind]}_${wallMs.toString(16).padStart(12, '0')}${random}` as Id<Kind>;
}

/** The id in `text`, or undefined where it is not an id of that kind. */
export function parseId<Kind extends IdKind>(kind: Kind, text: string): Id<Kind> | undefined {
  return new RegExp(`^${prefixes[kind]}_[0-9a-f]{32}$`).test(text) ? (text as Id<Kind>) : undefined;
}
