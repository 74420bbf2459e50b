import type { IncomingMessage } from 'node:http';
import { UsherError } from '#base';
import { authorise, type AccessPolicy, type Principal } from '#access';
import type { Policy } from './exchange.ts';

/**
 * What two readers of one request could understand differently is refused: doubled `Host` or
 * `Authorization`, a target in absolute form for another host, bytes that no path holds.
 * Conflicting lengths never get here: Node's parser refuses them.
 * @returns the request target in origin form
 * @throws UsherError `invalid_request`
 */
export function plainTarget(request: IncomingMessage): string {
  const { rawHeaders } = request;
  let hosts = 0;
  let credentials = 0;
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] ?? '';
    if (name.length === 4 && name.toLowerCase() === 'host') hosts += 1;
    else if (name.length === 13 && name.toLowerCase() === 'authorization') credentials += 1;
  }
  if (hosts !== 1) throw new UsherError('invalid_request', 'Send exactly one Host header.');
  if (credentials > 1) throw new UsherError('invalid_request', 'Send one Authorization header, not several.');
  const target = request.url ?? '';
  if (!/^[!-~]+$/.test(target) || target.includes('#')) {
    throw new UsherError('invalid_request', 'The request target holds a character that must be percent-encoded.');
  }
  return target.startsWith('/') ? target : relativeTarget(target, request.headers.host ?? '');
}

function relativeTarget(target: string, host: string): string {
  const absolute = /^https?:\/\/([^/?]+)(\/[^?]*)?(\?.*)?$/i.exec(target);
  if (absolute?.[1]?.toLowerCase() !== host.toLowerCase()) {
    throw new UsherError('invalid_request', 'The request target names another host than the Host header.');
  }
  return `${absolute[2] ?? '/'}${absolute[3] ?? ''}`;
}

/** Keys that observe are the operators who call from elsewhere: they see the whole installation. */
const operatorPolicy: AccessPolicy = { access: 'principal', kinds: ['key'], scope: 'observe' };

/** @throws UsherError `forbidden` where the principal's kind or scopes do not reach the route */
export function checkPolicy(policy: Policy, principal: Principal): void {
  const decision = authorise(principal, policy.access === 'operator' ? operatorPolicy : policy);
  if (decision.verdict === 'deny') throw new UsherError('forbidden', decision.mend);
}
