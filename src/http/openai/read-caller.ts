import { UsherError } from '#base';
import type { TurnRequest } from '#turn';
import type { Exchange } from '../exchange.ts';

const keyCharactersMax = 255;

/**
 * What headers say beside the body: whether the request may be, or is, one that came before (OpenAI's
 * clients count their repeats in `X-Stainless-Retry-Count`), and the end user's own bearer for tools.
 *
 * @throws UsherError `invalid_request`
 */
export function readCaller(exchange: Exchange, body: object): Pick<TurnRequest, 'repeat' | 'userAuthorisation'> {
  const { headers } = exchange;
  const idempotencyKey = headerOf(headers['idempotency-key']);
  if (idempotencyKey !== undefined && idempotencyKey.length > keyCharactersMax) {
    throw new UsherError('invalid_request', `An Idempotency-Key has at most ${keyCharactersMax} characters.`, {
      param: 'Idempotency-Key',
    });
  }
  const isAnnounced = Number(headerOf(headers['x-stainless-retry-count']) ?? 0) > 0;
  const bearer = headerOf(headers['x-user-authorization'])?.replace(/^bearer\s+/i, '');
  return {
    repeat: { idempotencyKey, isAnnounced, body: JSON.stringify(body) },
    userAuthorisation: bearer === '' ? undefined : bearer,
  };
}

function headerOf(value: string | readonly string[] | undefined): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}
