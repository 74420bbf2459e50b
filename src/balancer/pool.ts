import type { Random } from '#base';
import { Charge, Member, type Block } from './member.ts';
import type {
  LimitReport,
  MemberView,
  Need,
  Pick,
  Pool,
  PoolOptions,
  PoolsOptions,
  Settlement,
  Ticket,
} from './port.ts';
import { RetryBudget } from './retry-budget.ts';
import { PoolPace, tiedUpToMs } from './score.ts';

/**
 * Chooses a backend for each request.
 *
 *   1. Members already tried for the turn are left out, then those that may not be called now: at
 *      their concurrency, inside a limit's wait, or behind an open breaker.
 *   2. A member whose open period has passed takes the next first attempt as its probe: by score it
 *      would never be asked again. A retry probes only where nothing else is left, as its turn has
 *      failed once already.
 *   3. Of the others, the one with the shortest predicted wait; waits within a twentieth of it are a
 *      tie, and ties fall at random, uniformly.
 *
 * The breaker is obeyed while at least half of the members are healthy, which also caps the share
 * that can be ejected. Below half, all traffic would fall on the few, so it is ignored (panic): the
 * penalties still send traffic to the healthy first, up to the wait at which trying a failing member
 * is the better bet. Misconfigured members are never part of that, as nothing but their owner mends
 * them, nor is a pool of one, where there is no other to protect and failing at once is kinder.
 */

/** After a turn has tried every member, another try at once would most likely repeat it. */
const exhaustedRetryMs = 1_000;

/** @throws RangeError for a pool without a member, or members of the same name. */
export function createPool(options: PoolOptions): Pool {
  const names = options.members.map(({ name }) => name);
  return createPools({ ...options, pools: new Map([['', names]]) }).get('')!;
}

/**
 * Pools over the same members. A backend in several pools is one member with one load, one breaker
 * and one set of limits: counted apart in each pool, its limit would be multiplied by them.
 *
 * @throws RangeError for a pool without a member, members of the same name, or one that is not there.
 */
export function createPools(options: PoolsOptions): ReadonlyMap<string, Pool> {
  const pace = new PoolPace();
  const members = new Map(options.members.map((member) => [member.name, new Member(member, pace)]));
  if (members.size < options.members.length) throw new RangeError('members need different names');
  const poolOf = (names: readonly string[]): Pool => new MemberPool(named(members, names), options.random);
  return new Map([...options.pools].map(([pool, names]) => [pool, poolOf(names)]));
}

function named(members: ReadonlyMap<string, Member>, names: readonly string[]): readonly Member[] {
  if (names.length === 0) throw new RangeError('a pool needs a member');
  return [...new Set(names)].map((name) => {
    const member = members.get(name);
    if (member === undefined) throw new RangeError(`a pool names ${name}, which is not a member`);
    return member;
  });
}

class MemberPool implements Pool {
  readonly #random: Random;
  readonly #retries = new RetryBudget();
  readonly #members: readonly Member[];
  /** Scratch of one `pick`: members that may be called, and their predicted waits. */
  readonly #callable: Member[] = [];
  readonly #waitsMs: number[] = [];

  constructor(members: readonly Member[], random: Random) {
    this.#members = members;
    this.#random = random;
  }

  pick(need: Need, nowMs: number): Pick {
    const panic = this.#panics();
    let tried = 0;
    let probe: Member | undefined;
    let shortest: Block | undefined;
    let busy = false;
    this.#callable.length = 0;
    for (const member of this.#members) {
      if (need.exclude.has(member.name)) {
        tried += 1;
        continue;
      }
      const block = member.block(need.promptTokens, panic, nowMs);
      if (block !== undefined) {
        if (shortest === undefined || block.waitMs < shortest.waitMs) shortest = block;
        busy ||= block.reason === 'busy';
      } else if (member.breaker.probeDue(nowMs)) {
        probe = longerDue(probe, member);
      } else {
        this.#callable.push(member);
      }
    }
    const member = (tried === 0 ? probe : undefined) ?? this.#lowest(need, nowMs) ?? probe;
    if (member === undefined) {
      return shortest === undefined ? this.#exhausted(need, nowMs) : noneBy(shortest, busy);
    }
    if (tried === 0) this.#retries.firstAttempt(nowMs);
    return { result: 'picked', ticket: member.charge(need, nowMs) };
  }

  mayRetry(nowMs: number): boolean {
    const inFlight = this.#members.reduce((sum, member) => sum + member.inFlight, 0);
    return this.#retries.grant(inFlight, nowMs);
  }

  head(ticket: Ticket, limits: LimitReport, nowMs: number): void {
    const charge = this.#own(ticket);
    charge.member.head(charge, limits, nowMs);
  }

  firstToken(ticket: Ticket, nowMs: number): void {
    const charge = this.#own(ticket);
    charge.member.firstToken(charge, nowMs);
  }

  settle(ticket: Ticket, settlement: Settlement, nowMs: number): void {
    const charge = this.#own(ticket);
    charge.member.settle(charge, settlement, nowMs);
  }

  members(nowMs: number): readonly MemberView[] {
    return this.#members.map((member) => member.view(nowMs));
  }

  #panics(): boolean {
    if (this.#members.length === 1) return false;
    let healthy = 0;
    for (const member of this.#members) if (member.breaker.state === 'closed') healthy += 1;
    return healthy * 2 < this.#members.length;
  }

  /** The callable member with the shortest predicted wait; ties at random. */
  #lowest(need: Need, nowMs: number): Member | undefined {
    const callable = this.#callable;
    let lowestMs = Number.POSITIVE_INFINITY;
    for (const [index, member] of callable.entries()) {
      const waitMs = member.waitMs(need, nowMs);
      this.#waitsMs[index] = waitMs;
      if (waitMs < lowestMs) lowestMs = waitMs;
    }
    const tiedMs = tiedUpToMs(lowestMs);
    let ties = 0;
    for (const [index, member] of callable.entries()) {
      if (this.#waitsMs[index]! < tiedMs) callable[ties++] = member;
    }
    return ties <= 1 ? callable[0] : callable[Math.floor(this.#random() * ties)];
  }

  #exhausted(need: Need, nowMs: number): Pick {
    let retryAfterMs = Number.POSITIVE_INFINITY;
    for (const member of this.#members) {
      retryAfterMs = Math.min(retryAfterMs, member.block(need.promptTokens, false, nowMs)?.waitMs ?? 0);
    }
    return { result: 'none', reason: 'exhausted', retryAfterMs: Math.max(exhaustedRetryMs, retryAfterMs) };
  }

  /** @throws TypeError for a ticket that this pool did not hand out: a slot elsewhere would leak. */
  #own(ticket: Ticket): Charge {
    if (ticket instanceof Charge && this.#members.includes(ticket.member)) return ticket;
    throw new TypeError(`a ticket for ${ticket.backend} was given to a pool that did not hand it out`);
  }
}

/** `busy` where a free place is all that a member lacks, since a caller may queue for that. */
function noneBy(shortest: Block, busy: boolean): Pick {
  return { result: 'none', reason: busy ? 'busy' : shortest.reason, retryAfterMs: shortest.waitMs };
}

/** Of two members due for a probe, the one whose open period ended first. */
function longerDue(left: Member | undefined, right: Member): Member {
  return left !== undefined && left.breaker.openUntilMs! <= right.breaker.openUntilMs! ? left : right;
}
