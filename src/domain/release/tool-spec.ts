/** How one tool may be used. Every value is set: defaults are the schema's. */
export interface ToolPolicy {
  /** The whole call, in milliseconds. */
  readonly timeoutMs: number;
  /** A longer result is cut there, and says so. */
  readonly resultBytesMax: number;
  /** Calls of one person within a minute. */
  readonly ratePerMinute: number;
  /** May be run again where it is not known whether it ran. */
  readonly idempotent: boolean;
  /** The person must agree to each call. */
  readonly confirm: boolean;
}

/** With whose authority a request is made. */
export interface ToolAuthority {
  /** `user`: the end user's own bearer, given with the request. */
  readonly authorisation: 'none' | 'service' | 'user';
  /** Name of a credential of `usher.yaml`. */
  readonly credential?: string;
}

/** Where an argument of a call goes. */
export type ArgumentPlace =
  | { readonly in: 'path' }
  /** A list is repeated (`a=1&a=2`) where `joined` is false, else joined by commas. */
  | { readonly in: 'query'; readonly joined: boolean }
  /** One key of the JSON body. */
  | { readonly in: 'body' }
  /** The whole JSON body. */
  | { readonly in: 'whole_body' };

/** One HTTP request that the model may fill in. */
export interface HttpTool extends ToolAuthority {
  readonly kind: 'http';
  /** What the model calls. */
  readonly name: string;
  /** `http`, or the label of the OpenAPI document. */
  readonly source: string;
  readonly description?: string;
  /** JSON Schema of the arguments, an object. */
  readonly parameters: object;
  readonly method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** Scheme, host and port alone. */
  readonly origin: string;
  /** From the leading slash on, with `{argument}` for whole or parts of segments, and a fixed query behind `?`. */
  readonly path: string;
  /** By argument; one that is absent here goes nowhere. */
  readonly places: Readonly<Record<string, ArgumentPlace>>;
  readonly headers: Readonly<Record<string, string>>;
  readonly policy: ToolPolicy;
}

/** A server that lists its tools itself; only those named here are offered. */
export interface McpServerTools extends ToolAuthority {
  readonly kind: 'mcp';
  readonly label: string;
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly tools: readonly { readonly name: string; readonly policy: ToolPolicy }[];
}

/** A tool, or a server of tools, as a release holds it. */
export type ReleaseTool = HttpTool | McpServerTools;

/** Names that models accept for a function. */
export const functionNamePattern = /^[a-zA-Z0-9_-]{1,64}$/;
