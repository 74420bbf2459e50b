import { LRUCache } from 'lru-cache';
import { UsherError } from '#base';
import { createAdmission, createTurnLimiter, type Admission, type TurnLimiter } from '#balancer';
import type { SubjectId, TenantId } from '#access';

export interface TenantLimits {
  readonly requestsPerMinute: number;
  readonly concurrency: number;
}

/** People remembered at once for each assistant's own limit. */
const usersMax = 100_000;
/** Limiters of assistants that are gone are forgotten. */
const assistantsMax = 1000;

/** Limits of tenants and of the people at an assistant's page, exact within one process. */
export class TurnLimits {
  readonly #tenants = new Map<TenantId, Admission>();
  readonly #people = new LRUCache<string, TurnLimiter>({ max: assistantsMax });

  constructor(tenants: ReadonlyMap<TenantId, TenantLimits>) {
    for (const [tenant, limits] of tenants) this.#tenants.set(tenant, createAdmission(limits));
  }

  /** Charges one turn to the tenant; answers how to give its place back. @throws UsherError `rate_limited` */
  admit(tenant: TenantId, nowMs: number): (nowMs: number) => void {
    const admittance = this.#tenants.get(tenant)?.admit(nowMs);
    if (admittance === undefined) throw new UsherError('not_found', 'There is no such tenant.');
    if (admittance.result === 'admitted') return admittance.release;
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
