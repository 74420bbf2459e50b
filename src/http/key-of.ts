import { UsherError } from '#base';
import type { KeyPrincipal } from '#access';
import type { Exchange } from './exchange.ts';

/** The key that calls a route for keys alone. @throws UsherError `forbidden` */
export function keyOf({ principal }: Pick<Exchange, 'principal'>): KeyPrincipal {
  if (principal.kind !== 'key') throw new UsherError('forbidden', 'This needs an API key.');
  return principal;
}
