import { randomBytes } from 'node:crypto';
import type { Route } from '#http';

/** Somebody who has made things, and the ids of those things by the parameter that carries them. */
export interface Party {
  readonly name: string;
  readonly tenant: string;
  /** Null for a key, which sees its whole tenant. */
  readonly subject: string | null;
  /** With the credential. */
  readonly headers: Readonly<Record<string, string>>;
  /** By parameter name; also by the names that `Carrier` bodies ask for. */
  readonly ids: Readonly<Record<string, string>>;
}

/** A request that carries ids in its body or query, beside the parameters in its path. */
export interface Carrier {
  readonly method: string;
  /** A route's pattern, with a query where one is wanted: `/v1/items?after=:item`. */
  readonly path: string;
  /** Names of the ids that it carries outside the path's own parameters. */
  readonly carries: readonly string[];
  readonly body: (ids: Readonly<Record<string, string>>) => unknown;
  /** Answers whatever the id, as a cursor of a list does: then it must tell nothing, but need not refuse. */
  readonly answersAny?: true;
}

export interface SwapOptions {
  readonly url: string;
  readonly routes: readonly Route[];
  readonly parties: readonly Party[];
  readonly carriers?: readonly Carrier[];
  /** Bodies for POST routes that need one to get as far as their ids, by `POST /v1/…`. */
  readonly bodies?: Readonly<Record<string, unknown>>;
  /** Parameters that name something public, such as an assistant. */
  readonly publicParameters?: readonly string[];
}

export interface SwapReport {
  /** Requests made with somebody else's id. */
  readonly swaps: number;
  /** Requests by which owners showed afterwards that what they own is still there. */
  readonly controls: number;
  /** A sentence for each leak, and for each id that the test was not given. */
  readonly problems: readonly string[];
}

interface Ask {
  readonly method: string;
  readonly path: string;
  readonly names: readonly string[];
  readonly body: ((ids: Readonly<Record<string, string>>) => unknown) | undefined;
  readonly answersAny?: true;
}

interface Answer {
  readonly status: number;
  /** Without what differs from one request to the next by rights. */
  readonly text: string;
}

/**
 * Asks every route that takes an id for the things of others: of another tenant, and of another
 * person of the same tenant. Each such answer must be 404 (400 with OpenAI's own code for a response to go on
 * from) and the very same as for an id that nobody has; afterwards each owner must still find their own. A route that is closed to the caller
 * whatever the id (403 by its policy) tells nothing and passes. What is asked without an id may name
 * nothing of another tenant, and below `/admin/` and for operators two tenants may not be told the same.
 */
export async function swapEveryId(options: SwapOptions): Promise<SwapReport> {
  const problems: string[] = [];
  let swaps = 0;
  let controls = 0;
  const asks = [...asksOf(options), ...carriersOf(options)];
  for (const ask of asks) {
    for (const [caller, owner] of strangers(options.parties)) {
      const missing = ask.names.filter((name) => caller.ids[name] === undefined || owner.ids[name] === undefined);
      if (missing.length > 0) {
        problems.push(`${ask.method} ${ask.path}: ${caller.name} or ${owner.name} has no id for ${missing.join(', ')}`);
        continue;
      }
      for (const swapped of subsets(ask.names)) {
        swaps += 1;
        const problem = await swap(options.url, ask, caller, owner, swapped);
        if (problem !== undefined) problems.push(problem);
      }
    }
  }
  for (const ask of asks.filter(({ method }) => method === 'GET')) {
    for (const owner of options.parties) {
      controls += 1;
      const { status } = await send(options.url, ask, owner.headers, owner.ids);
      // 204: theirs, and there is nothing to tell of it now.
      if (![200, 204, 403].includes(status)) {
        problems.push(`${ask.method} ${ask.path}: ${owner.name} got ${status} for what is theirs`);
      }
    }
  }
  problems.push(...(await tellsOfOthers(options)));
  return { swaps, controls, problems: [...new Set(problems)] };
}

/** Nobody is on the machine itself: what is open there is asked for from elsewhere. */
const fromElsewhere = { 'x-forwarded-for': '10.1.1.1' };

/** A sentence for each list that is not of the caller's tenant alone. */
async function tellsOfOthers({ url, routes, parties, publicParameters = [] }: SwapOptions): Promise<string[]> {
  const problems: string[] = [];
  const lists = routes.filter(
    ({ method, path, policy }) => method === 'GET' && policy.access !== 'public' && parametersOf(path).length === 0,
  );
  for (const { path, policy } of lists) {
    const isAdministration = policy.access === 'operator' || path.startsWith('/admin/');
    const told = new Map<string, Party>();
    for (const caller of parties) {
      const ask = { method: 'GET', path, names: [], body: undefined };
      const { status, text } = await send(url, ask, { ...caller.headers, ...fromElsewhere }, {});
      if (status !== 200) continue;
      for (const { name, tenant, ids } of parties) {
        const own = Object.entries(ids).filter(([parameter]) => !publicParameters.includes(parameter));
        if (tenant !== caller.tenant && own.some(([, id]) => text.includes(id))) {
          problems.push(`GET ${path}: ${caller.name} is told an id of ${name}`);
        }
      }
      // What operators read is of the whole installation, whatever it says.
      const form = policy.access === 'operator' ? '' : text.replaceAll(/\d+/g, '#');
      const same = told.get(form);
      if (isAdministration && same !== undefined && same.tenant !== caller.tenant) {
        problems.push(`GET ${path}: ${caller.name} and ${same.name} are told the same`);
      }
      told.set(form, caller);
    }
  }
  return problems;
}

function asksOf({ routes, bodies = {}, publicParameters = [] }: SwapOptions): Ask[] {
  return routes.flatMap(({ method, path, policy }) => {
    const names = parametersOf(path).filter((name) => !publicParameters.includes(name));
    if (names.length === 0 || policy.access !== 'principal') return [];
    const key = `${method} ${path}`;
    return [{ method, path, names, body: key in bodies ? () => bodies[key] : undefined }];
  });
}

function carriersOf({ carriers = [], publicParameters = [] }: SwapOptions): Ask[] {
  return carriers.map(({ method, path, carries, body, answersAny }) => ({
    method,
    path,
    names: [...parametersOf(path).filter((name) => !publicParameters.includes(name)), ...carries],
    body: method === 'GET' ? undefined : body,
    ...(answersAny && { answersAny }),
  }));
}

function parametersOf(path: string): string[] {
  return [...path.matchAll(/:([a-z]\w*)/gi)].map(([, name]) => name ?? '');
}

/** Ordered pairs of which the first may not see what the second made. */
function strangers(parties: readonly Party[]): [Party, Party][] {
  return parties.flatMap((caller) =>
    parties
      .filter(
        (owner) => caller.tenant !== owner.tenant || (caller.subject !== null && caller.subject !== owner.subject),
      )
      .map((owner): [Party, Party] => [caller, owner]),
  );
}

/** Every way to take some of the names, but none. */
function subsets(names: readonly string[]): string[][] {
  return Array.from({ length: 2 ** names.length - 1 }, (_, mask) =>
    names.filter((_name, index) => ((mask + 1) >> index) & 1),
  );
}

async function swap(
  url: string,
  ask: Ask,
  caller: Party,
  owner: Party,
  swapped: readonly string[],
): Promise<string | undefined> {
  const withIds = (change: (name: string) => string) =>
    send(url, ask, caller.headers, { ...caller.ids, ...Object.fromEntries(swapped.map((n) => [n, change(n)])) });
  const real = await withIds((name) => owner.ids[name] ?? '');
  const invented = await withIds((name) => inventedLike(owner.ids[name] ?? ''));
  const what = `${ask.method} ${ask.path}: ${caller.name} asking with ${swapped.join(' and ')} of ${owner.name}`;
  const unknown = real.text.includes('"previous_response_not_found"') ? 400 : 404;
  const refused = ask.answersAny && real.status < 400 ? 200 : unknown;
  if (real.status !== refused && !(real.status === 403 && invented.status === 403)) return `${what} got ${real.status}`;
  if (real.status !== invented.status || real.text !== invented.text) {
    return `${what} can tell it from an id that nobody has: ${real.text} against ${invented.text}`;
  }
  return undefined;
}

/** An id of the same form that nobody has. */
function inventedLike(id: string): string {
  const tail = /[0-9a-f]{16,}$/.exec(id)?.[0];
  if (tail === undefined) return `${id}-nobodys`;
  return id.slice(0, id.length - tail.length) + randomBytes(tail.length).toString('hex').slice(0, tail.length);
}

async function send(
  url: string,
  ask: Ask,
  headers: Readonly<Record<string, string>>,
  ids: Readonly<Record<string, string>>,
): Promise<Answer> {
  const path = ask.path.replaceAll(/:([a-z]\w*)/gi, (_, name: string) => encodeURIComponent(ids[name] ?? name));
  const body = ask.body?.(ids);
  const answer = await fetch(url + path, {
    method: ask.method,
    headers: { ...headers, ...(body !== undefined && { 'content-type': 'application/json' }) },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  const text = await answer.text();
  const known = Object.values(ids).reduce((masked, id) => masked.replaceAll(id, '<id>'), text);
  return { status: answer.status, text: known.replaceAll(/req_[0-9a-f]{32}/g, '<request>') };
}
