import { chatModels } from './choose-chat-model.ts';
import { openEgress } from '#egress';
import { fetchJson } from './openai/fetch-json.ts';

/** A model server that runs on this machine. */
export interface LocalServer {
  /** `ollama`, `llama.cpp`, `lm-studio`, `vllm`. */
  readonly name: string;
  /** Base address, up to and including `/v1`. */
  readonly url: string;
  /** Those that can chat, the one to take first; empty where it has none. */
  readonly models: readonly string[];
}

interface Candidate {
  readonly name: string;
  readonly port: number;
  /** A question that only this kind of server answers in its own way. */
  readonly path: string;
  /** Models by the answer; undefined where some other server gave it, perhaps our own. */
  readonly read: (answer: unknown) => readonly string[] | undefined;
}

type Entry = Readonly<Record<string, unknown>>;

const candidates: readonly Candidate[] = [
  { name: 'ollama', port: 11_434, path: '/api/tags', read: readOllama },
  { name: 'llama.cpp', port: 8_080, path: '/v1/models', read: (answer) => readOwned(answer, 'llamacpp') },
  { name: 'lm-studio', port: 1_234, path: '/api/v0/models', read: readLmStudio },
  { name: 'vllm', port: 8_000, path: '/v1/models', read: (answer) => readOwned(answer, 'vllm') },
];

/** Long for a server on this machine, short for a person who waits. */
const askMs = 1_000;

/**
 * Asks the usual ports of this machine, all at once, for a model server. Whatever is not one, or
 * does not answer in time, is left out; never throws. `ports` stands in for the usual ones by name.
 */
export async function detectLocalServers(options: {
  readonly signal: AbortSignal;
  readonly ports?: Readonly<Record<string, number>>;
}): Promise<readonly LocalServer[]> {
  const answers = await Promise.all(
    candidates.map((candidate) => {
      const port = options.ports?.[candidate.name] ?? candidate.port;
      return askCandidate(candidate, `http://127.0.0.1:${port}`, options.signal);
    }),
  );
  return answers.filter((server) => server !== undefined);
}

async function askCandidate(
  candidate: Candidate,
  origin: string,
  signal: AbortSignal,
): Promise<LocalServer | undefined> {
  const egress = openEgress(new URL(origin));
  const request = { method: 'GET', path: candidate.path, headers: { accept: 'application/json' } } as const;
  try {
    const answer = await fetchJson({ backend: candidate.name, origin }, egress, request, askMs, signal);
    const names = candidate.read(answer);
    return names === undefined ? undefined : { name: candidate.name, url: `${origin}/v1`, models: chatModels(names) };
  } catch {
    return undefined;
  } finally {
    await egress.close();
  }
}

/** `{models: [{name, details: {family}, remote_host}]}`, the most recently changed first. */
function readOllama(answer: unknown): readonly string[] | undefined {
  const entries = entriesOf(answer, 'models');
  return entries
    ?.filter((entry) => !isRemote(entry) && !/bert/.test(String((entry['details'] as Entry | undefined)?.['family'])))
    .map((entry) => entry['name'])
    .filter(isName);
}

/** Ollama also lists models that run elsewhere; what people write here is not sent away unasked. */
function isRemote(entry: Entry): boolean {
  return entry['remote_host'] !== undefined || /[-:]cloud$/.test(String(entry['name']));
}

/** `{data: [{id, type, state}]}`; loaded models first, since the others take a while. */
function readLmStudio(answer: unknown): readonly string[] | undefined {
  const entries = entriesOf(answer, 'data');
  if (entries === undefined || !entries.every((entry) => typeof entry['type'] === 'string')) return undefined;
  const chatting = entries.filter((entry) => entry['type'] === 'llm' || entry['type'] === 'vlm');
  const loaded = chatting.filter((entry) => entry['state'] === 'loaded');
  const others = chatting.filter((entry) => entry['state'] !== 'loaded');
  return [...loaded, ...others].map((entry) => entry['id']).filter(isName);
}

/** `{data: [{id, owned_by}]}` where the owner is the server's own name. */
function readOwned(answer: unknown, owner: string): readonly string[] | undefined {
  const entries = entriesOf(answer, 'data')?.filter((entry) => entry['owned_by'] === owner);
  return entries === undefined || entries.length === 0 ? undefined : entries.map((entry) => entry['id']).filter(isName);
}

function entriesOf(answer: unknown, field: string): readonly Entry[] | undefined {
  const list = (answer as Entry | null)?.[field];
  return Array.isArray(list)
    ? list.filter((entry): entry is Entry => typeof entry === 'object' && entry !== null)
    : undefined;
}

function isName(value: unknown): value is string {
  return typeof value === 'string' && value !== '';
}
