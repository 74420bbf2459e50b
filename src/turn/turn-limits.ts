import { LRUCache } from 'lru-cache';
import { UsherError } from '#base';
import { createAdmission, createTurnLimiter, type Admission, type TurnLimiter } from '#balancer';
import type { Principal, SubjectId, TenantId } from '#access';

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

/** Limits of tenants and of the people at an assistant's page, exact within one process. */
export class TurnLimits {
  readonly #tenants = new Map<TenantId, { readonly limits: TenantLimits; readonly admission: Admission }>();
  readonly #people = new LRUCache<string, TurnLimiter>({ max: assistantsMax });

  readonly #limitsOf: (tenant: TenantId) => TenantLimits | undefined;
  #running = 0;

  /** @param limitsOf those of the moment; undefined where there is no such tenant */
  constructor(limitsOf: (tenant: TenantId) => TenantLimits | undefined) {
    this.#limitsOf = limitsOf;
  }

  /** Turns admitted here and not yet ended. */
  get running(): number {
    return this.#running;
  }

  /** Charges one turn to the caller's tenant; answers how to give its place back. @throws UsherError `rate_limited` */
  admit({ tenant, kind }: Pick<Principal, 'tenant' | 'kind'>, nowMs: number): (nowMs: number) => void {
    const admittance = this.#admissionOf(tenant)?.admit(nowMs, kind === 'user' ? applicationsShare : 0);
    if (admittance === undefined) throw new UsherError('not_found', 'There is no such tenant.');
    if (admittance.result === 'admitted') return this.#counted(admittance.release);
    const { reason, retryAfterMs } = admittance;
    const what = reason === 'rate' ? 'requests per minute' : 'requests at once';
    throw new UsherError(
      'rate_limited',
      `The tenant's limit of ${what} is reached. Repeat after the time in Retry-After.`,
      {
        retryAfterMs,
      },
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

  #counted(release: (nowMs: number) => void): (nowMs: number) => void {
    let held = true;
    this.#running += 1;
    return (nowMs) => {
      if (held) this.#running -= 1;
      held = false;
      release(nowMs);
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
