import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { promisify } from 'node:util';
import type { RootKeyReference, SecretReference } from './config-schema.ts';
import { isPlainVariableName } from './redact.ts';

const commandTimeoutMs = 10_000;
const secretBytesMax = 65_536;

export type SecretRead =
  | { readonly ok: true; readonly value: string }
  /** `part` is the key of the reference at fault; the message never carries the value. */
  | { readonly ok: false; readonly part: 'env' | 'file' | 'command'; readonly message: string };

/** Follows a reference to a secret. Surrounding white space is not part of a secret. */
export async function readSecret(
  reference: SecretReference,
  env: Readonly<Record<string, string | undefined>>,
  folder: string,
): Promise<SecretRead> {
  return reference.env === undefined
    ? fromFile(resolve(folder, reference.file ?? ''))
    : fromVariable(reference.env, env);
}

/** As `readSecret`, and a program's output besides. The program gets the server's own environment, and no shell. */
export async function readRootKey(
  reference: RootKeyReference,
  env: Readonly<Record<string, string | undefined>>,
  folder: string,
): Promise<{ readonly ok: true; readonly key: Uint8Array } | (SecretRead & { readonly ok: false })> {
  const read =
    reference.command === undefined
      ? await readSecret(reference, env, folder)
      : await fromCommand(reference.command, env, folder);
  if (!read.ok) return read;
  const key = parseKey(read.value);
  if (key !== undefined) return { ok: true, key };
  const part = reference.command !== undefined ? 'command' : reference.env !== undefined ? 'env' : 'file';
  return {
    ok: false,
    part,
    message:
      'a root key must be 32 bytes, as 44 characters of base64 or 64 of hex; make one with: openssl rand -base64 32',
  };
}

function fromVariable(name: string, env: Readonly<Record<string, string | undefined>>): SecretRead {
  if (!isPlainVariableName(name)) {
    return {
      ok: false,
      part: 'env',
      message:
        'expected the name of an environment variable, such as OPENAI_API_KEY (capitals, digits, underscores); if this is the secret itself, move it into the environment, and replace it where it was issued if others have seen this file',
    };
  }
  const value = env[name]?.trim();
  if (value === undefined || value === '') {
    const state = value === undefined ? 'is not set' : 'is empty';
    return {
      ok: false,
      part: 'env',
      message: `the environment variable ${name} ${state}; set it before you start Usher`,
    };
  }
  return { ok: true, value };
}

async function fromFile(path: string): Promise<SecretRead> {
  const refuse = (why: string): SecretRead => ({
    ok: false,
    part: 'file',
    message: `the file that should hold the secret ${why}`,
  });
  let content: Buffer;
  try {
    content = await readFile(path);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT')
      return refuse('does not exist; the path is relative to the folder of this configuration file');
    if (code === 'EACCES') return refuse('may not be read by the user that runs Usher; change its owner or mode');
    return refuse(`cannot be read (${code ?? 'unknown reason'})`);
  }
  if (content.length > secretBytesMax) return refuse('is larger than 64 KiB; name a file that holds the secret alone');
  const value = content.toString('utf8').trim();
  return value === '' ? refuse('is empty') : { ok: true, value };
}

async function fromCommand(
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
  folder: string,
): Promise<SecretRead> {
  const [program = '', ...parameters] = argv;
  try {
    const { stdout } = await promisify(execFile)(program, parameters, {
      cwd: folder,
      env,
      timeout: commandTimeoutMs,
      maxBuffer: secretBytesMax,
    });
    const value = stdout.trim();
    return value === '' ? { ok: false, part: 'command', message: 'the program printed no key' } : { ok: true, value };
  } catch (error) {
    // Neither its output nor its arguments: either could carry the key.
    const { code, killed } = error as { code?: string | number; killed?: boolean };
    const why =
      code === 'ENOENT'
        ? 'was not found; give its whole path'
        : killed === true
          ? 'did not end within 10 seconds'
          : `ended with ${code ?? 'an error'}`;
    return { ok: false, part: 'command', message: `the program that should print the root key ${why}` };
  }
}

function parseKey(text: string): Uint8Array | undefined {
  if (/^[0-9a-fA-F]{64}$/.test(text)) return Buffer.from(text, 'hex');
  if (!/^[A-Za-z0-9+/_-]{43}=?$/.test(text)) return undefined;
  const key = Buffer.from(text, 'base64');
  return key.length === 32 ? key : undefined;
}
