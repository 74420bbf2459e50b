import type { Principal } from '#access';

/**
 * Whether the caller has no such conversation or turn: there is none, or it is of the same person
 * with another assistant than the one that their token is for.
 */
export function isBeyond(principal: Principal, row: { readonly assistant: string | null } | undefined): boolean {
  if (row === undefined) return true;
  return principal.kind === 'user' && row.assistant !== null && row.assistant !== principal.assistant;
}
