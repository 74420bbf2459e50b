import type { TenantId } from '#access';
import type { ToolAuthority } from '#release';
import type { ToolContext, ToolCredential } from './port.ts';
import { refusal } from './tool-failure.ts';

/** What a request carries to be let in, and what must therefore never be seen in a result. */
export interface Authorised {
  readonly headers: Readonly<Record<string, string>>;
  readonly secrets: readonly string[];
}

export interface AuthorityOptions {
  readonly origin: string;
  readonly tenant: TenantId;
  readonly credentials: ReadonlyMap<string, ToolCredential>;
  readonly privateOrigins: ReadonlySet<string>;
}

const bearerCharactersMax = 8192;

/** @throws ToolFailure `refused` where the tool may not be called so */
export function authorise(
  tool: ToolAuthority,
  user: Pick<ToolContext, 'userAuthorisation'>,
  options: AuthorityOptions,
): Authorised {
  switch (tool.authorisation) {
    case 'none':
      return { headers: {}, secrets: [] };
    case 'service':
      return withCredential(tool.credential ?? '', options);
    case 'user':
      return withBearer(user.userAuthorisation, options);
  }
}

/** @throws ToolFailure `refused` where it is not this tenant's, or not for this origin */
export function withCredential(name: string, options: AuthorityOptions): Authorised {
  const { origin, tenant, credentials } = options;
  const credential = credentials.get(name);
  if (credential === undefined || !credential.tenants.includes(tenant)) {
    throw refusal(
      `The tool's credential "${name}" is not there. The owner must declare it under tools.credentials of usher.yaml.`,
    );
  }
  if (!credential.origins.includes(origin)) {
    throw refusal(
      `The tool's credential "${name}" is not for ${origin}. The owner must list that origin beside it in usher.yaml.`,
    );
  }
  refuseOpenWire(options);
  const { header, scheme, secret } = credential;
  return { headers: { [header.toLowerCase()]: scheme === '' ? secret : `${scheme} ${secret}` }, secrets: [secret] };
}

function withBearer(bearer: string | undefined, options: AuthorityOptions): Authorised {
  if (bearer === undefined || bearer === '') {
    throw refusal(
      'This tool acts for the person with their own authorisation, and none came with the request. Tell the person to sign in.',
    );
  }
  if (bearer.length > bearerCharactersMax || !/^[\x21-\x7e]+$/.test(bearer)) {
    throw refusal("The person's authorisation is not a bearer token, so the tool was not called.");
  }
  refuseOpenWire(options);
  return { headers: { authorization: `Bearer ${bearer}` }, secrets: [bearer] };
}

/** Over plain http anyone on the way could read it; a private origin is the owner's own network. */
function refuseOpenWire({ origin, privateOrigins }: AuthorityOptions): void {
  if (origin.startsWith('https:') || privateOrigins.has(origin)) return;
  throw refusal(
    `The tool's server ${origin} is reached without encryption, so no credential is sent there. The owner must use https.`,
  );
}

/** The text without the secrets that a server may have echoed. */
export function withoutSecrets(text: string, secrets: readonly string[]): string {
  return secrets.reduce((left, secret) => left.replaceAll(secret, '•••'), text);
}

/** The same of a text that was cut, which may end within a secret: that beginning of one goes as well. */
export function withoutCutSecrets(text: string, secrets: readonly string[]): string {
  const left = withoutSecrets(text, secrets);
  const begun = secrets.map((secret) => beginningAtEnd(left, secret));
  return left.slice(0, left.length - Math.max(0, ...begun));
}

/** How many characters of the secret's beginning the text ends with. */
function beginningAtEnd(text: string, secret: string): number {
  let length = Math.min(secret.length - 1, text.length);
  while (length > 0 && !text.endsWith(secret.slice(0, length))) length -= 1;
  return length;
}
