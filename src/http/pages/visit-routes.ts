import { z } from 'zod';
import { UsherError, type Clock } from '#base';
import { createTurnLimiter } from '#balancer';
import type { UserTokens, Visitor } from '#control';
import type { Exchange, Route } from '../exchange.ts';
import { readBody } from '../openai/read-body.ts';
import { networkOf } from '../caller-network.ts';
import type { PageDirectory, PagedAssistant } from './page-directory.ts';

/** An office behind one address opens many pages; each then renews its token four times an hour. */
const visitsPerMinute = 120;
const addressesMax = 20_000;
/** A visitor who comes back keeps their conversations: the credential is renewed long before it ends. */
const renewBelowMs = 200 * 24 * 3_600_000;

/** The body of `POST /chat/<assistant>/visit`: what an earlier visit answered as `visitor`. */
const visitSchema = z.looseObject({
  visitor: z
    .string()
    .max(4096)
    .nullish()
    .describe('What an earlier visit answered as `visitor`: the same visitor comes back.'),
});

/** How a browser without an account gets the tokens it talks with. */
export function visitRoutes(parts: { directory: PageDirectory; tokens: UserTokens; clock: Clock }): Route[] {
  const limiter = createTurnLimiter({ turnsPerMinute: visitsPerMinute, usersMax: addressesMax });
  const visit = async (exchange: Exchange): Promise<void> => {
    const admittance = limiter.admit(networkOf(exchange.clientAddress), parts.clock.wallMs());
    if (admittance.result === 'refused') {
      const { retryAfterMs } = admittance;
      throw new UsherError('rate_limited', 'Too many visits from this address. Wait a moment.', { retryAfterMs });
    }
    const { visitor } = readBody(visitSchema, await exchange.json());
    const assistant = await parts.directory.open(exchange.params['assistant']!);
    if (assistant.spec.page.access === 'token') {
      throw new UsherError(
        'forbidden',
        'This assistant is for people who are signed in. Open it from the application that you use it with.',
      );
    }
    exchange.sendJson(200, await admitVisitor(parts, assistant, visitor ?? undefined));
  };
  return [
    {
      method: 'POST',
      path: '/chat/:assistant/visit',
      policy: { access: 'public', why: 'a visitor has no credential before the first visit' },
      summary:
        'Lets a visitor of a public assistant talk: gives a short-lived token, and a lasting one to come back with.',
      body: visitSchema,
      answer: '`{"token":…,"expiresAtMs":…,"visitor":…}`.',
      handle: visit,
    },
  ];
}

/** A new visitor where the credential is none of ours, has ended, or is for another assistant. */
async function admitVisitor(
  { tokens, clock }: { tokens: UserTokens; clock: Clock },
  { tenant, spec }: PagedAssistant,
  credential: string | undefined,
): Promise<object> {
  const known = credential === undefined ? undefined : await readVisitor(tokens, credential);
  const own = known?.tenant === tenant && known.assistant === spec.name ? known : undefined;
  const lasts = own !== undefined && own.expiresAtMs - clock.wallMs() > renewBelowMs;
  const kept = await (lasts
    ? { token: credential!, subject: own.subject }
    : tokens.mintVisitor({ tenant, assistant: spec.name, ...(own && { subject: own.subject }) }));
  const { token, expiresAtMs } = await tokens.mintUserToken({ tenant, assistant: spec.name, subject: kept.subject });
  return { token, expiresAtMs, visitor: kept.token };
}

async function readVisitor(tokens: UserTokens, credential: string): Promise<Visitor | undefined> {
  try {
    return await tokens.openVisitor(credential);
  } catch (error) {
    if (error instanceof UsherError && error.code === 'invalid_credentials') return undefined;
    throw error;
  }
}
