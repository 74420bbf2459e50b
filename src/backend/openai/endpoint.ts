import { UsherError } from '#base';
import type { Place } from './failure.ts';

export interface EndpointOptions {
  readonly name: string;
  readonly kind: 'openai' | 'azure-openai' | 'openai-compatible';
  /** Base address up to and including `/v1`. Azure: the resource's address. */
  readonly url: string;
  /** Needed but for Azure's deployments. */
  readonly model?: string | undefined;
  readonly apiKey?: string | undefined;
  /** Azure only: the deployment's name. */
  readonly deployment?: string | undefined;
  /** Azure only; absent for its version-less `/openai/v1` addresses. */
  readonly apiVersion?: string | undefined;
}

/** Where and how one endpoint is spoken to. */
export interface Endpoint {
  readonly place: Place;
  /** Of an operation that no model belongs to: `models`. */
  path(operation: string): string;
  /** Of an operation of the model: `chat/completions`, `embeddings`. */
  modelPath(operation: string): string;
  readonly headers: Readonly<Record<string, string>>;
  /** Undefined where the address names the model. */
  readonly model: string | undefined;
  readonly apiKey: string | undefined;
}

/** @throws UsherError `config_invalid` */
export function endpointOf(options: EndpointOptions): Endpoint {
  const url = baseUrl(options);
  const base = url.pathname.replace(/\/+$/, '');
  const shared = {
    place: { backend: options.name, origin: url.origin },
    headers: headersOf(options),
    apiKey: options.apiKey,
  };
  if (options.kind === 'azure-openai' && !base.endsWith('/v1')) {
    return { ...shared, ...azurePaths(base, options), model: undefined };
  }
  const model = options.model ?? options.deployment;
  if (model === undefined) throw invalid(options.name, 'has no model: name one under `model`, or in OPENAI_MODEL');
  const path = (operation: string): string => `${base}/${operation}`;
  return { ...shared, path, modelPath: path, model };
}

/** What people are told of it: `gpt-4.1-mini at api.openai.com`. */
export function descriptionOf({ model, deployment, url }: EndpointOptions): string {
  return `${model ?? deployment ?? 'model'} at ${new URL(url).host}`;
}

function azurePaths(base: string, options: EndpointOptions): Pick<Endpoint, 'path' | 'modelPath'> {
  const deployment = options.deployment ?? options.model;
  if (deployment === undefined) throw invalid(options.name, 'has no deployment: name one under `deployment`');
  if (options.apiVersion === undefined) {
    throw invalid(options.name, 'has no `apiVersion`: give one (`2024-10-21`), or a url that ends with /openai/v1');
  }
  const root = base.endsWith('/openai') ? base : `${base}/openai`;
  const version = `?api-version=${encodeURIComponent(options.apiVersion)}`;
  return {
    path: (operation) => `${root}/${operation}${version}`,
    modelPath: (operation) => `${root}/deployments/${encodeURIComponent(deployment)}/${operation}${version}`,
  };
}

function baseUrl(options: EndpointOptions): URL {
  const url = URL.canParse(options.url) ? new URL(options.url) : undefined;
  if (url === undefined || !['http:', 'https:'].includes(url.protocol)) {
    throw invalid(options.name, 'has a url that is no http or https address');
  }
  if (url.username !== '' || url.password !== '' || url.search !== '' || url.hash !== '') {
    throw invalid(options.name, 'has a url with a credential, query or fragment: keep scheme, host and path only');
  }
  return url;
}

function headersOf(options: EndpointOptions): Record<string, string> {
  const headers: Record<string, string> = {
    'content-type': 'application/json',
    accept: 'text/event-stream, application/json',
    'accept-encoding': 'identity',
    'user-agent': 'usher',
  };
  if (options.apiKey === undefined || options.apiKey === '') return headers;
  if (!/^[\x21-\x7e]+$/.test(options.apiKey)) {
    throw invalid(options.name, 'has an API key with spaces or characters outside ASCII: copy it anew');
  }
  if (options.kind === 'azure-openai') headers['api-key'] = options.apiKey;
  else headers['authorization'] = `Bearer ${options.apiKey}`;
  return headers;
}

function invalid(name: string, what: string): UsherError {
  return new UsherError('config_invalid', `Backend "${name}" ${what}.`);
}
