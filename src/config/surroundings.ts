import { shown } from '#base';
import { roles, type Role } from '#cluster';
import type { ConfigProblem } from './problems.ts';

/** The variables of this process: what the entry hands to everything that asks for an environment. */
export function ownEnvironment(): Readonly<Record<string, string | undefined>> {
  return process.env;
}

/** The environment variables that Usher reads by itself; any other only where `usher.yaml` names it. */
export const environmentVariables = {
  OPENAI_API_KEY: 'Key of the OpenAI API, where `usher.yaml` declares no backends.',
  OPENAI_BASE_URL: 'Base address of the OpenAI API or of a server that speaks it.',
  OPENAI_MODEL: 'The model to ask for there.',
  USHER_MODEL_PATH: 'A GGUF file to run on this machine where no other model is found.',
  USHER_CONFIG: 'As `--config`.',
  USHER_DATA: 'As `--data`.',
  USHER_HOST: 'As `--host`.',
  USHER_PORT: 'As `--port`.',
  USHER_ROLE: 'As `--role`.',
  OTEL_EXPORTER_OTLP_ENDPOINT: 'Where traces and metrics are sent; setting it switches them on.',
  OTEL_SDK_DISABLED: '`true` switches traces and their metrics off.',
  NO_COLOR: 'Set: no colours in the terminal.',
} as const;

/** What the command line overrides. */
export interface Flags {
  readonly data?: string;
  readonly host?: string;
  readonly port?: number;
  readonly roles?: readonly Role[];
  /** One assistant folder to serve instead of the configured ones. */
  readonly assistant?: string;
}

export interface Environment {
  readonly openaiKey: string | undefined;
  readonly openaiUrl: string | undefined;
  readonly openaiModel: string | undefined;
  readonly modelPath: string | undefined;
  readonly config: string | undefined;
  readonly data: string | undefined;
  readonly host: string | undefined;
  readonly port: number | undefined;
  readonly roles: readonly Role[] | undefined;
  readonly otel: boolean;
}

/** All that a configuration depends on besides the file itself. */
export interface Surroundings {
  readonly cwd: string;
  /** What relative paths of the file start from. */
  readonly folder: string;
  readonly environment: Environment;
  readonly flags: Flags;
}

const otelSwitches = [
  'OTEL_EXPORTER_OTLP_ENDPOINT',
  'OTEL_EXPORTER_OTLP_TRACES_ENDPOINT',
  'OTEL_EXPORTER_OTLP_METRICS_ENDPOINT',
];

export function environmentOf(
  env: Readonly<Record<string, string | undefined>>,
):
  | { readonly ok: true; readonly value: Environment }
  | { readonly ok: false; readonly problems: readonly ConfigProblem[] } {
  const problems: ConfigProblem[] = [];
  const given = (name: string): string | undefined => env[name]?.trim() || undefined;
  const port = given('USHER_PORT');
  if (port !== undefined && !isPort(port)) {
    problems.push({ file: undefined, message: 'the environment variable USHER_PORT must be a number from 0 to 65535' });
  }
  const role = given('USHER_ROLE');
  if (role !== undefined && parseRoles(role) === undefined) {
    problems.push({
      file: undefined,
      message: `the environment variable USHER_ROLE must be ${rolesWanted}, not "${shown(role)}"`,
    });
  }
  const openaiUrl = given('OPENAI_BASE_URL');
  if (openaiUrl !== undefined && URL.parse(openaiUrl)?.protocol.startsWith('http') !== true) {
    problems.push({
      file: undefined,
      message: 'the environment variable OPENAI_BASE_URL must be an address such as https://api.openai.com/v1',
    });
  }
  if (problems.length > 0) return { ok: false, problems };
  const value: Environment = {
    openaiKey: given('OPENAI_API_KEY'),
    openaiUrl: openaiUrl?.replace(/\/+$/, ''),
    openaiModel: given('OPENAI_MODEL'),
    modelPath: given('USHER_MODEL_PATH'),
    config: given('USHER_CONFIG'),
    data: given('USHER_DATA'),
    host: given('USHER_HOST'),
    port: port === undefined ? undefined : Number(port),
    roles: role === undefined ? undefined : parseRoles(role),
    otel:
      given('OTEL_SDK_DISABLED')?.toLowerCase() !== 'true' && otelSwitches.some((name) => given(name) !== undefined),
  };
  return { ok: true, value };
}

/** Whether `text` is a TCP port, 0 (any free one) included. */
export function isPort(text: string): boolean {
  return /^\d{1,5}$/.test(text) && Number(text) <= 65_535;
}

export const rolesWanted = `one or more of ${roles.join(', ')}, separated by commas`;

/** `gateway,worker`; undefined where a word is none of the roles, or stands twice. */
export function parseRoles(text: string): readonly Role[] | undefined {
  const words = text.split(',').map((word) => word.trim());
  const named = roles.filter((role) => words.includes(role));
  return named.length === words.length ? named : undefined;
}
