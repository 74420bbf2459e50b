import { afterEach, beforeEach, expect, test, vi } from 'vitest';

import { newId, systemClock, UsherError, type Id } from '#base';
import type { TenantId } from '#access';
import type { TurnKey, TurnProgress } from '#store';
import { Audience } from './audience.ts';
import { LiveTurn, LiveTurns } from './live-turns.ts';
import { TurnWatch, type WatchedTurn } from './turn-watch.ts';

const tenant = 'north' as TenantId;
let rows: Map<Id<'turn'>, TurnProgress>;
let questions: (readonly TurnKey[])[];
let heard: Id<'turn'>[];
let isAway: boolean;
let lookMs: number;
let live: LiveTurns;
let watch: TurnWatch;

beforeEach(() => {
  vi.useFakeTimers();
  rows = new Map();
  questions = [];
  heard = [];
  isAway = false;
  lookMs = 0;
  live = new LiveTurns();
  const store = {
    turnProgress: async (turns: readonly TurnKey[]) => {
      if (isAway) throw new UsherError('storage_unavailable', 'The database is away.');
      questions.push(turns);
      if (lookMs > 0) await new Promise((done) => void setTimeout(done, lookMs));
      return turns.flatMap(({ turn }) => rows.get(turn) ?? []);
    },
    hearTurns: async (turns: readonly TurnKey[]) => {
      heard.push(...turns.map(({ turn }) => turn));
    },
  };
  watch = new TurnWatch(store, live, { storeFailed: () => undefined }, systemClock);
});
afterEach(() => {
  vi.useRealTimers();
});

function put(turn: Id<'turn'>, lastSeq: number, state: TurnProgress['state'] = 'running'): void {
  rows.set(turn, { tenant, turn, state, epoch: 1, lastSeq });
}

/** Whether a follower is woken within two looks. */
async function isWoken({ changed }: WatchedTurn, meanwhile: () => void): Promise<boolean> {
  let is = false;
  void changed.then(() => (is = true));
  meanwhile();
  await vi.advanceTimersByTimeAsync(250);
  return is;
}

test('a follower is woken by all that becomes of its turn, and by nothing else', async () => {
  const turn = newId('turn');
  const watched = watch.watch(tenant, turn);
  await vi.advanceTimersByTimeAsync(150);
  expect(await isWoken(watched, () => undefined)).toBe(false);
  // It waited in the queue, and begins elsewhere.
  expect(await isWoken(watched, () => put(turn, 0))).toBe(true);
  expect(await isWoken(watched, () => undefined)).toBe(false);
  expect(await isWoken(watched, () => put(turn, 5))).toBe(true);
  // While the database is away nothing is known; what came then is seen afterwards.
  isAway = true;
  expect(await isWoken(watched, () => put(turn, 6))).toBe(false);
  expect(await isWoken(watched, () => (isAway = false))).toBe(true);
  // This node takes it over: from then on it wakes its followers itself.
  let leave = (): void => undefined;
  expect(await isWoken(watched, () => (leave = live.add(turn, new LiveTurn(new Audience(0)))))).toBe(true);
  expect(await isWoken(watched, () => put(turn, 9))).toBe(false);
  expect(await isWoken(watched, () => leave())).toBe(true);
  expect(await isWoken(watched, () => put(turn, 10, 'completed'))).toBe(true);
  expect(await isWoken(watched, () => rows.delete(turn))).toBe(true);
  expect(await isWoken(watched, () => undefined)).toBe(false);
  watched.stop();
});

test('the node of a turn hears of its listeners here as soon as it begins, and often enough however slow the database is', async () => {
  const turn = newId('turn');
  lookMs = 1000;
  const watched = watch.watch(tenant, turn);
  await vi.advanceTimersByTimeAsync(3000);
  // It waits in the queue: nobody runs it.
  expect(heard).toEqual([]);
  put(turn, 0);
  await vi.advanceTimersByTimeAsync(2500);
  expect(heard).toEqual([turn]);
  await vi.advanceTimersByTimeAsync(30_000);
  expect(heard.length).toBeGreaterThan(4);
  put(turn, 1, 'completed');
  await vi.advanceTimersByTimeAsync(2500);
  const told = heard.length;
  await vi.advanceTimersByTimeAsync(30_000);
  expect(heard.length).toBe(told);
  watched.stop();
});

test('who comes while others follow misses nothing, and thousands ask no more often than one', async () => {
  const turns = Array.from({ length: 1000 }, () => newId('turn'));
  for (const turn of turns) put(turn, 0);
  const followers = turns.flatMap((turn) => [1, 2, 3].map(() => watch.watch(tenant, turn)));
  await vi.advanceTimersByTimeAsync(1000);
  expect(questions.length).toBeLessThanOrEqual(10);
  expect(questions.every((asked) => asked.length === 1000)).toBe(true);
  expect(heard).toHaveLength(1000);
  put(turns[7]!, 1);
  await vi.advanceTimersByTimeAsync(150);
  const late = watch.watch(tenant, turns[7]!);
  expect(await isWoken(late, () => put(turns[7]!, 2))).toBe(true);
  for (const follower of [...followers, late]) follower.stop();
  const asked = questions.length;
  await vi.advanceTimersByTimeAsync(5000);
  expect(questions.length).toBe(asked);
  expect(vi.getTimerCount()).toBe(0);
});
