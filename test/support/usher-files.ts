/** One assistant folder's content beyond the usual. */
export interface AssistantFiles {
  /** Keys of `assistant.yaml` besides its name. */
  readonly spec?: Readonly<Record<string, unknown>>;
  readonly instructions?: string;
  /** Text by path below `knowledge/`. */
  readonly knowledge?: Readonly<Record<string, string>>;
}

export interface UsherFilesOptions {
  /** By name; absent: one called `usher-test`. */
  readonly assistants?: Readonly<Record<string, AssistantFiles>>;
  /** Put over every backend, such as `concurrency`. */
  readonly backend?: Readonly<Record<string, unknown>>;
  /** Top-level keys of `usher.yaml`, in place of the generated ones. */
  readonly config?: Readonly<Record<string, unknown>>;
}

/**
 * `usher.yaml` and assistant folders for a server over one pool of OpenAI-compatible backends, with
 * limits that no test meets by accident. Made for `startUsher`; JSON is YAML.
 */
export function usherFiles(
  baseUrls: readonly string[],
  options: UsherFilesOptions = {},
): { readonly config: string; readonly files: Readonly<Record<string, string>> } {
  const { assistants = { 'usher-test': {} }, backend = {} } = options;
  const config = {
    backends: baseUrls.map((url, index) => ({
      name: `backend-${index + 1}`,
      kind: 'openai-compatible',
      url,
      model: 'simulated',
      concurrency: 10_000,
      ...backend,
    })),
    tenants: [
      {
        id: 'default',
        assistants: Object.keys(assistants).map((name) => ({ name, folder: `./${name}` })),
        limits: { requestsPerMinute: 10_000_000, concurrency: 100_000 },
      },
    ],
    limits: { connections: 20_000 },
    ...options.config,
  };
  const files = Object.entries(assistants).flatMap(([name, assistant]) => folderFiles(name, assistant));
  return { config: JSON.stringify(config, undefined, 2), files: Object.fromEntries(files) };
}

function folderFiles(name: string, assistant: AssistantFiles): [string, string][] {
  const spec = { name, limits: { turnsPerMinutePerUser: 10_000 }, page: { access: 'public' }, ...assistant.spec };
  const knowledge = Object.entries(assistant.knowledge ?? {});
  return [
    [`${name}/assistant.yaml`, JSON.stringify(spec, undefined, 2)],
    [`${name}/instructions.md`, assistant.instructions ?? 'You lead guests to their seats.'],
    ...knowledge.map(([path, text]): [string, string] => [`${name}/knowledge/${path}`, text]),
  ];
}
