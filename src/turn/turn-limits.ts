import { LRUCache } from 'lru-cache';
import { UsherError } from '#base';
import { createAdmission, createTurnLimiter, type Admission, type Admittance, type TurnLimiter } from '#balancer';
import type { Principal, SubjectId, TenantId } from '#access';
import type { QueueLane } from '#store';

export interface TenantLimits {
  readonly requestsPerMinute: number;
  readonly concurrency: number;
}

/** People remembered at once for each assistant's own limit. */
const usersMax = 100_000;
/** Limiters of assistants that are gone are forgotten. */
const assistantsMax = 1000;

/** Of a tenant's limits, left to its applications whatever persons ask. */
const applicationsShare = 0.25;
/** Of a tenant's places, left to turns that somebody waits for. */
const listenersShare = 0.5;

/** Gives a place back; harmless when called again. */
type GiveBack = (nowMs: number) => void;

/** Limits of tenants and of the people at an assistant's page, exact within one process. */
export class TurnLimits {
  readonly #tenants = new Map<TenantId, { readonly limits: TenantLimits; readonly admission: Admission }>();
  readonly #people = new LRUCache<string, TurnLimiter>({ max: assistantsMax });

  readonly #limitsOf: (tenant: TenantId) => TenantLimits | undefined;
  readonly #roomMade: () => void;
  #running = 0;

  /**
   * @param limitsOf those of the moment; undefined where there is no such tenant
   * @param roomMade called when a tenant in whose queue nothing could begin has a place again
   */
  constructor(limitsOf: (tenant: TenantId) => TenantLimits | undefined, roomMade: () => void) {
    this.#limitsOf = limitsOf;
    this.#roomMade = roomMade;
  }

  /** Turns admitted here and not yet ended. */
  get running(): number {
    return this.#running;
  }

  /**
   * Charges one turn to the caller's tenant; answers how to give its place back. One that is queued at
   * once takes none before it begins. @throws UsherError `rate_limited`
   */
  admit({ tenant, kind }: Pick<Principal, 'tenant' | 'kind'>, nowMs: number, isQueued = false): GiveBack {
    const admission = this.#admissionOf(tenant);
    if (admission === undefined) throw new UsherError('not_found', 'There is no such tenant.');
    const keptShare = kind === 'user' ? applicationsShare : 0;
    if (isQueued) {
      const charged = admission.charge(nowMs, keptShare);
      if (charged.result === 'admitted') return charged.release;
      throw refusal(charged);
    }
    const admittance = admission.admit(nowMs, keptShare);
    if (admittance.result === 'admitted') return this.#counted(admission, admittance.release);
    throw refusal(admittance);
  }

  /** Takes a place for a turn that begins from the queue; undefined where its lane is full. */
  enterQueued({ tenant, background }: QueueLane, nowMs: number): GiveBack | undefined {
    const admission = this.#admissionOf(tenant);
    if (admission?.isFull(background ? listenersShare : 0) === true) return undefined;
    return this.enter(tenant, nowMs);
  }

  /** Takes a place, whether one is free or not, for a turn that goes on here. */
  enter(tenant: TenantId, nowMs: number): GiveBack {
    const admission = this.#admissionOf(tenant);
    // A tenant that is gone has no limit; its turn ends by what it needs.
    return admission === undefined ? () => undefined : this.#counted(admission, admission.enter(nowMs));
  }

  /** Lanes of the queue of which nothing may begin here now. */
  fullLanes(): readonly QueueLane[] {
    return [...this.#tenants.keys()].flatMap((tenant) =>
      [true, false]
        .filter((background) => this.#admissionOf(tenant)?.isFull(background ? listenersShare : 0) === true)
        .map((background) => ({ tenant, background })),
    );
  }

  /** Where the limits changed, turns are counted anew: those under way count no longer. */
  #admissionOf(tenant: TenantId): Admission | undefined {
    const limits = this.#limitsOf(tenant);
    if (limits === undefined) return undefined;
    const known = this.#tenants.get(tenant);
    const same =
      known?.limits.requestsPerMinute === limits.requestsPerMinute && known.limits.concurrency === limits.concurrency;
    if (same) return known.admission;
    const admission = createAdmission(limits);
    this.#tenants.set(tenant, { limits, admission });
    return admission;
  }

  #counted(admission: Admission, release: GiveBack): GiveBack {
    let held = true;
    this.#running += 1;
    return (nowMs) => {
      if (!held) return;
      held = false;
      this.#running -= 1;
      const heldUp = admission.isFull(listenersShare);
      release(nowMs);
      if (heldUp) this.#roomMade();
    };
  }

  /**
   * Charges one turn, or one addition to a conversation without an answer, to a person at a page;
   * each is counted for itself. @throws UsherError `rate_limited`
   */
  admitPerson(
    what: 'turn' | 'addition',
    { tenant, assistant, subject }: { tenant: TenantId; assistant: string; subject: SubjectId },
    turnsPerMinute: number,
    nowMs: number,
  ): void {
    const name = `${what}/${tenant}/${assistant}/${turnsPerMinute}`;
    const limiter = this.#people.get(name) ?? createTurnLimiter({ turnsPerMinute, usersMax });
    this.#people.set(name, limiter);
    const admittance = limiter.admit(subject, nowMs);
    if (admittance.result === 'admitted') return;
    const { retryAfterMs } = admittance;
    throw new UsherError('rate_limited', 'You have sent many messages within a minute. Wait a moment, then go on.', {
      retryAfterMs,
    });
  }
}

function refusal({ reason, retryAfterMs }: Extract<Admittance, { result: 'refused' }>): UsherError {
  const what = reason === 'rate' ? 'requests per minute' : 'requests at once';
  return new UsherError(
    'rate_limited',
    `The tenant's limit of ${what} is reached. Repeat after the time in Retry-After.`,
    { retryAfterMs },
  );
}
