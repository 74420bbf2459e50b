import type { Id } from '#base';
import type { Principal, Scope } from '#access';
import type { Item } from '#conversation';
import type { QueuedTurn } from '#store';
import type { Sealed, SubjectVault } from '#vault';
import type { PlannedTurn, TurnRequest } from '../turn-steps.ts';

/** What was asked, as it is kept with a turn: all that another node needs to go on with it. */
type AskedTurn = Omit<TurnRequest, 'principal' | 'input' | 'repeat' | 'userAuthorisation'> & {
  readonly principal: AskedPrincipal;
};

type AskedPrincipal =
  | (Omit<Extract<Principal, { kind: 'key' }>, 'scopes'> & { readonly scopes: readonly Scope[] })
  | Extract<Principal, { kind: 'user' }>;

/** What the store keeps of a turn that is not over, waiting or begun. */
type KeptTurn = Pick<QueuedTurn, 'id' | 'settings' | 'userAuthorisation'>;

const place = (id: Id<'turn'>): { table: string; row: string } => ({ table: 'turns', row: id });
const authorisationPlace = (id: Id<'turn'>): { table: string; row: string } => ({
  table: 'turns',
  row: `${id}/authorisation`,
});
const inputPlace = (id: Id<'turn'>): { table: string; row: string } => ({ table: 'queued_turns', row: id });

/** Without the input, whose items are stored for themselves, and without the bearer, which is kept for as long as it runs. */
export function sealAsked(vault: SubjectVault, id: Id<'turn'>, request: TurnRequest): Sealed {
  const { principal, input: _input, repeat: _repeat, userAuthorisation: _authorisation, ...rest } = request;
  const asked: AskedTurn = {
    ...rest,
    principal: principal.kind === 'key' ? { ...principal, scopes: [...principal.scopes] } : principal,
  };
  return vault.seal(place(id), JSON.stringify(asked));
}

export function openAsked(
  vault: SubjectVault,
  { id, settings, userAuthorisation }: KeptTurn,
  input: readonly Item[],
): TurnRequest {
  const { principal, ...rest } = JSON.parse(vault.openText(place(id), settings)) as AskedTurn;
  return {
    ...rest,
    principal: principal.kind === 'key' ? { ...principal, scopes: new Set(principal.scopes) } : principal,
    input,
    repeat: undefined,
    userAuthorisation:
      userAuthorisation === null ? undefined : vault.openText(authorisationPlace(id), userAuthorisation),
  };
}

/** Kept only where a tool of the assistant acts for the person, so that no other turn ever leaves a credential behind. */
export function sealAuthorisation(vault: SubjectVault, { id, request, served }: PlannedTurn): Sealed | null {
  const { userAuthorisation } = request;
  const isNeeded = served.release.tools?.some(({ authorisation }) => authorisation === 'user') ?? false;
  return isNeeded && userAuthorisation !== undefined ? vault.seal(authorisationPlace(id), userAuthorisation) : null;
}

/** The caller's settings of a stored turn, as they were sent. */
export function openSettings(vault: SubjectVault, id: Id<'turn'>, sealed: Sealed): string {
  return (JSON.parse(vault.openText(place(id), sealed)) as AskedTurn).settings;
}

/** What was asked with other settings of the caller. */
export function resealSettings(vault: SubjectVault, id: Id<'turn'>, sealed: Sealed, settings: string): Sealed {
  const asked = JSON.parse(vault.openText(place(id), sealed)) as AskedTurn;
  return vault.seal(place(id), JSON.stringify({ ...asked, settings } satisfies AskedTurn));
}

export function sealInput(vault: SubjectVault, id: Id<'turn'>, input: readonly Item[]): Sealed {
  return vault.seal(inputPlace(id), JSON.stringify(input));
}

export function openInput(vault: SubjectVault, id: Id<'turn'>, sealed: Sealed): readonly Item[] {
  return JSON.parse(vault.openText(inputPlace(id), sealed)) as Item[];
}
