import { z } from 'zod';
import type { SubjectId } from '#access';
import type { UserTokens } from '#control';
import { putAudit, type TurnRooms } from '#turn';
import type { Exchange, Route } from '../exchange.ts';
import { keyOf } from '../key-of.ts';
import { readBody } from '../openai/read-body.ts';

/** The body of `POST /v1/user_tokens`: who the person is to the application, and the assistant they may talk to. */
export const userTokenSchema = z.looseObject({
  assistant: z.string().min(1).max(200).describe('The assistant that the person may talk to.'),
  subject: z.string().min(1).max(256).describe('Who the person is to the application: any lasting id.'),
});

/** How an application lets a person whom it has signed in talk from their own browser. */
export function userTokenRoutes(parts: { rooms: TurnRooms; tokens: UserTokens }): Route[] {
  return [
    {
      method: 'POST',
      path: '/v1/user_tokens',
      policy: { access: 'principal', kinds: ['key'], scope: 'users' },
      summary:
        'Makes a short-lived token with which a person whom the application knows talks from their browser. It is recorded.',
      body: userTokenSchema,
      answer: '`{"object":"user_token","token":…,"assistant":…,"subject":…,"expires_at":…}`.',
      handle: (exchange) => mint(parts, exchange),
    },
  ];
}

async function mint({ rooms, tokens }: { rooms: TurnRooms; tokens: UserTokens }, exchange: Exchange): Promise<void> {
  const body = readBody(userTokenSchema, await exchange.json());
  const key = keyOf(exchange);
  const { tenant } = key;
  const { assistant } = await rooms.releases.resolve(tenant, body.assistant);
  const minted = await tokens.mintUserToken({ tenant, assistant, subject: body.subject as SubjectId });
  // Before it is given away: none is used that was not recorded.
  await putAudit(rooms, key, 'user_token.create', `${assistant}/${minted.subject}`);
  exchange.sendJson(200, {
    object: 'user_token',
    token: minted.token,
    assistant,
    subject: minted.subject,
    expires_at: Math.floor(minted.expiresAtMs / 1000),
  });
}
