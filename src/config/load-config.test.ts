import { mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { formatConfigProblem, loadConfig, settleModels, type Config, type Flags, type Secrets } from '#config';

let cwd: string;
beforeEach(() => {
  cwd = mkdtempSync(join(tmpdir(), 'usher-config-'));
  put('assistant.yaml', 'name: porter\n');
});
afterEach(() => rmSync(cwd, { recursive: true, force: true }));

function put(path: string, content: string): string {
  const whole = join(cwd, path);
  mkdirSync(dirname(whole), { recursive: true });
  writeFileSync(whole, content);
  return whole;
}

type Env = Record<string, string>;

async function loaded(yaml: string | undefined, env: Env = {}, flags: Flags = {}) {
  if (yaml !== undefined) put('usher.yaml', yaml);
  return loadConfig({ env, flags, cwd });
}

async function good(
  yaml: string | undefined,
  env: Env = {},
  flags: Flags = {},
): Promise<{ config: Config; secrets: Secrets }> {
  const result = await loaded(yaml, env, flags);
  if (!result.ok) throw new Error(result.problems.map(formatConfigProblem).join('\n'));
  return result;
}

async function complaints(yaml: string | undefined, env: Env = {}, flags: Flags = {}): Promise<string> {
  const result = await loaded(yaml, env, flags);
  if (result.ok) throw new Error('expected problems');
  return result.problems.map(formatConfigProblem).join('\n');
}

const oneBackend = `backends:
  - name: main
    kind: openai
    key: { env: OPENAI_API_KEY }
    model: gpt-4.1-mini
`;
const key = { OPENAI_API_KEY: 'sk-test-0123456789abcdef' };

describe('without a usher.yaml', () => {
  test('the assistant of the folder is served from a data folder below it, on port 8080 or the next free one', async () => {
    const { config } = await good(undefined);
    expect(config.file).toBeUndefined();
    expect(config.dataDir).toBe(join(cwd, '.usher'));
    expect(config.storage).toEqual({ kind: 'sqlite', path: join(cwd, '.usher', 'usher.db') });
    expect(config.listen).toMatchObject({ host: '127.0.0.1', port: 8080, portMayMove: true });
    expect(config.tenants).toHaveLength(1);
    expect(config.tenants[0]?.assistants[0]?.name).toBe('porter');
    expect(config.tenants[0]?.assistants[0]?.environments.get('production')?.sides).toEqual([
      { folder: cwd, share: 1 },
    ]);
  });

  test('the assistant that comes along is served where the folder has none', async () => {
    rmSync(join(cwd, 'assistant.yaml'));
    const { config } = await good(undefined);
    expect(config.tenants[0]?.assistants[0]?.name).toBe('guide');
  });

  test('flags win over the environment', async () => {
    const { config } = await good(
      undefined,
      { USHER_DATA: 'a', USHER_PORT: '1', USHER_HOST: '::1' },
      { data: 'b', port: 0 },
    );
    expect(config.dataDir).toBe(join(cwd, 'b'));
    expect(config.listen).toMatchObject({ host: '::1', port: 0, portMayMove: false });
  });

  test('a folder without an assistant that was asked for is told with the mend', async () => {
    expect(await complaints(undefined, {}, { assistant: 'nowhere' })).toMatch(
      /nowhere has no assistant.yaml; .*usher init/,
    );
  });
});

describe('which model answers', () => {
  test('OPENAI_API_KEY is a backend, and its key is apart from the configuration', async () => {
    const { config, secrets } = await good(undefined, key);
    expect(config.models).toMatchObject({
      from: 'environment',
      why: 'gpt-4.1-mini at api.openai.com, since OPENAI_API_KEY is set',
    });
    expect(config.backends).toMatchObject([
      { kind: 'openai', url: 'https://api.openai.com/v1', model: 'gpt-4.1-mini' },
    ]);
    expect(config.pools).toMatchObject([{ name: 'default', backends: ['openai'] }]);
    expect(secrets.backendKeys.get('openai')).toBe(key.OPENAI_API_KEY);
    expect(JSON.stringify(config)).not.toContain(key.OPENAI_API_KEY);
    expect(settleModels(config, [{ name: 'ollama', url: 'http://127.0.0.1:11434/v1', models: ['m'] }])).toBe(config);
  });

  test('OPENAI_BASE_URL alone is a server that asks for no key', async () => {
    const { config, secrets } = await good(undefined, {
      OPENAI_BASE_URL: 'http://127.0.0.1:9/v1/',
      OPENAI_MODEL: 'small',
    });
    expect(config.backends).toMatchObject([
      { kind: 'openai-compatible', url: 'http://127.0.0.1:9/v1', model: 'small' },
    ]);
    expect(secrets.backendKeys.size).toBe(0);
  });

  test('a local server with a model comes before a model file, that before knowledge alone', async () => {
    const { config } = await good(undefined, { USHER_MODEL_PATH: put('model.gguf', 'GGUF') });
    expect(config.models.from).toBe('undecided');
    const empty = { name: 'llama.cpp', url: 'http://127.0.0.1:8081/v1', models: [] };
    const ollama = { name: 'ollama', url: 'http://127.0.0.1:11434/v1', models: ['qwen3:0.6b', 'other'] };
    expect(settleModels(config, [empty, ollama])).toMatchObject({
      models: { from: 'server', why: 'qwen3:0.6b, from ollama on this machine (127.0.0.1:11434)' },
      backends: [{ kind: 'openai-compatible', model: 'qwen3:0.6b' }],
    });
    expect(settleModels(config, [empty])).toMatchObject({
      models: { from: 'file' },
      backends: [{ kind: 'local', modelPath: join(cwd, 'model.gguf'), concurrency: 1 }],
      pools: [{ name: 'default', backends: ['local'] }],
    });
    const { config: bare } = await good(undefined);
    expect(settleModels(bare, [])).toMatchObject({
      models: { from: 'knowledge' },
      backends: [{ kind: 'knowledge' }],
      pools: [{ name: 'default', backends: ['knowledge'] }],
    });
  });

  test('the model that was downloaded last is found in the data folder', async () => {
    utimesSync(put('.usher/models/new.gguf', 'GGUF'), 2_000_000, 2_000_000);
    utimesSync(put('.usher/models/old.gguf', 'GGUF'), 1_000_000, 1_000_000);
    const { config } = await good(undefined);
    expect(config.models.localFile).toBe(join(cwd, '.usher/models/new.gguf'));
  });

  test('a model file that is not there is told', async () => {
    expect(await complaints(undefined, { USHER_MODEL_PATH: 'none.gguf' })).toMatch(
      /USHER_MODEL_PATH names .*none.gguf/,
    );
  });
});

describe('usher.yaml', () => {
  test('backends of every kind, pools, tenants and a split are read', async () => {
    put('a/assistant.yaml', 'name: desk');
    put('b/assistant.yaml', 'name: desk');
    put('m.gguf', 'GGUF');
    put('azure.key', 'azure-secret\n');
    const { config, secrets } = await good(
      `listen: { port: 0, publicUrl: https://chat.example.org/ }
data: ../data
storage: { kind: postgres, url: { env: DATABASE_URL }, poolMax: 4 }
${oneBackend}
  - { name: azure, kind: azure-openai, url: https://x.openai.azure.com, deployment: d, key: { file: azure.key } }
  - { name: vllm, kind: openai-compatible, url: http://127.0.0.1:8000/v1 }
  - { name: own, kind: local, modelPath: m.gguf }
pools:
  - { name: default, backends: [main, azure], attempts: 5, fallback: knowledge }
  - { name: cheap, backends: [vllm, own] }
tenants:
  - id: acme
    corsOrigins: [https://www.example.org]
    assistants:
      - name: desk
        environments:
          production: { split: [{ folder: a, share: 9 }, { folder: b, share: 1 }] }
          staging: { folder: b }
`,
      { ...key, DATABASE_URL: 'postgres://u:p@localhost/d' },
    );
    expect(config.listen.publicUrl).toBe('https://chat.example.org');
    expect(config.dataDir).toBe(join(dirname(cwd), 'data'));
    expect(config.storage).toEqual({ kind: 'postgres', poolMax: 4 });
    expect(config.backends.map((backend) => backend.kind)).toEqual([
      'openai',
      'azure-openai',
      'openai-compatible',
      'local',
      'knowledge',
    ]);
    expect(config.pools[0]).toMatchObject({ attemptsMax: 5, fallback: 'knowledge', timeouts: { connectMs: 5000 } });
    expect(config.pools[1]).toMatchObject({ backends: ['vllm', 'own'], fallback: undefined });
    const desk = config.tenants[0]?.assistants[0];
    expect(desk?.environments.get('production')).toEqual({
      salt: 'desk/production',
      sides: [
        { folder: join(cwd, 'a'), share: 9 },
        { folder: join(cwd, 'b'), share: 1 },
      ],
    });
    expect(secrets.postgresUrl).toBe('postgres://u:p@localhost/d');
    expect(secrets.backendKeys.get('azure')).toBe('azure-secret');
  });

  test('a process has every role, unless the file says less, the environment another, the flags another again', async () => {
    const all = ['gateway', 'worker', 'control'];
    expect((await good(undefined)).config.roles).toEqual(all);
    const shared = `${oneBackend}storage: { kind: postgres, url: { env: PG } }\nroles: [worker]\n`;
    const env = { ...key, PG: 'postgres://u:p@localhost/d' };
    expect((await good(shared, env)).config.roles).toEqual(['worker']);
    expect((await good(shared, { ...env, USHER_ROLE: 'control, gateway' })).config.roles).toEqual([
      'gateway',
      'control',
    ]);
    const flagged = await good(shared, { ...env, USHER_ROLE: 'gateway' }, { roles: ['control'] });
    expect(flagged.config.roles).toEqual(['control']);
    expect(await complaints(shared, { ...env, USHER_ROLE: 'gatway' })).toContain(
      'USHER_ROLE must be one or more of gateway, worker, control, separated by commas, not "gatway"',
    );
    expect(await complaints(shared.replace('[worker]', '[worker, worker]'), env)).toContain('must name each role once');
    expect(await complaints(`${oneBackend}roles: [gateway]\n`, key)).toContain('SQLite serves one process');
  });

  test('a process without the role control needs no assistant folder, also where some are declared', async () => {
    rmSync(join(cwd, 'assistant.yaml'));
    const env = { ...key, PG: 'postgres://u:p@localhost/d' };
    const shared = `${oneBackend}storage: { kind: postgres, url: { env: PG } }\nroles: [gateway, worker]\n`;
    expect((await good(shared, env)).config.tenants).toEqual([]);
    const declared = `${shared}tenants:\n  - assistants:\n      - { name: far, folder: ./far }\n`;
    expect((await good(declared, env)).config.tenants).toHaveLength(1);
    expect(await complaints(declared, env, { roles: ['control'] })).toContain('there is no such folder');
  });

  test('a configuration cannot be changed once it is read', async () => {
    const { config } = await good(oneBackend, key);
    expect(Object.isFrozen(config.listen)).toBe(true);
    expect(Object.isFrozen(config.backends[0])).toBe(true);
  });

  test.each([
    [
      'a pool that names no backend tells the nearest, with its place',
      `${oneBackend}pools:\n  - { name: default, backends: [mian] }\n`,
      'usher.yaml:7:33  no backend is called "mian"; did you mean "main"?',
    ],
    [
      'two backends of one name',
      `${oneBackend}  - { name: main, kind: knowledge }\n`,
      'usher.yaml:6:13  "main" stands twice; give each its own name',
    ],
    [
      'a share of 0',
      'tenants:\n  - assistants:\n      - name: a\n        environments:\n          production:\n            split:\n              - { folder: ., share: 0 }\n              - { folder: ., share: 1 }\n',
      'usher.yaml:7:37  "share" of item 1 of "split" must be above 0; leave out a side that shall serve nobody',
    ],
    [
      'an address that cannot be called',
      'backends:\n  - { name: a, kind: openai-compatible, url: ftp://x/v1 }\n',
      'usher.yaml:2:46  "url" of item 1 of "backends" must begin with https:// or http://, since ftp:// cannot be called',
    ],
    [
      'two tenants of one id',
      'tenants:\n  - assistants: [{ name: a, folder: . }]\n  - assistants: [{ name: a, folder: . }]\n',
      'usher.yaml:3:5  "default" stands twice; give each its own id',
    ],
    [
      'an unknown key tells the nearest',
      'listen: { prot: 1 }\n',
      'usher.yaml:1:11  unknown key "prot"; did you mean "port"?',
    ],
    [
      'an unknown kind tells the nearest',
      'backends:\n  - { name: a, kind: openai-compatble }\n',
      'usher.yaml:2:22  "kind" of item 1 of "backends" must be "openai", "azure-openai", "openai-compatible", "local" or "knowledge"; did you mean "openai-compatible"?',
    ],
    [
      'an assistant folder that is not there',
      'tenants:\n  - assistants:\n      - { name: a, folder: nowhere }\n',
      'usher.yaml:3:28  there is no such folder; the path is relative to the folder of this file',
    ],
    [
      'an assistant with neither folder nor environments',
      'tenants:\n  - assistants:\n      - { name: a }\n',
      'usher.yaml:3:9  give either `folder` or `environments`',
    ],
    [
      'a variable that is not set',
      oneBackend,
      'usher.yaml:4:17  the environment variable OPENAI_API_KEY is not set; set it before you start Usher',
    ],
    [
      'an origin with a path',
      'tenants:\n  - { assistants: [{ name: a, folder: . }], corsOrigins: [https://a.example/x] }\n',
      'usher.yaml:2:59  item 1 of "corsOrigins" of item 1 of "tenants" must be an origin: scheme, host and port alone, for example https://www.example.org',
    ],
    ['pools without backends', 'pools:\n  - { name: default, backends: [a] }\n', 'pools need backends to hold'],
  ])('%s', async (_title, yaml, expected) => {
    expect(await complaints(yaml)).toContain(expected);
  });

  test('every problem is told at once', async () => {
    const told = await complaints(`${oneBackend}pools:\n  - { name: default, backends: [mian] }\n`);
    expect(told).toContain('OPENAI_API_KEY is not set');
    expect(told).toContain('no backend is called "mian"');
  });

  test('a file that was asked for must exist', async () => {
    const result = await loadConfig({ path: 'other.yaml', env: {}, flags: {}, cwd });
    expect(result).toMatchObject({ ok: false });
  });

  test('a usher.yml is not silently passed over', async () => {
    put('usher.yml', '');
    expect(await complaints(undefined)).toMatch(/rename .*usher.yml to usher.yaml/);
  });
});

describe('secrets', () => {
  const pasted = 'sk-proj-Zx81kQ02mX74f9aR3';
  test.each([
    ['as the value', `key: ${pasted}`, 'a secret must not be written in this file'],
    ['where the name of a variable belongs', `key: { env: ${pasted} }`, 'expected the name of an environment variable'],
    ['where a path belongs', `key: { file: ${pasted} }`, 'the file that should hold the secret does not exist'],
    ['under a name of its own', `apiKey: ${pasted}`, 'unknown key "apiKey"'],
    ['as a key of the reference', `key: { ${pasted}: x }`, 'unknown key'],
    ['in a list', `key: [${pasted}]`, 'a secret must not be written in this file'],
    ['over two lines', `key: >\n      ${pasted}`, 'a secret must not be written in this file'],
  ])('a key pasted %s is refused with the mend and never shown', async (_title, line, mend) => {
    const told = await complaints(`backends:\n  - name: main\n    kind: openai\n    ${line}\n    model: m\n`);
    expect(told).toContain(mend);
    expect(told).not.toContain(pasted);
    expect(told).not.toContain(pasted.slice(8));
  });

  test('a database address with its password is refused and never shown', async () => {
    for (const url of ['postgres://usher:hunter2@db/usher', '{ env: "postgres://usher:hunter2@db/usher" }']) {
      const told = await complaints(`storage:\n  kind: postgres\n  url: ${url}\n`);
      expect(told).toMatch(/must not be written in this file|expected the name of an environment variable/);
      expect(told).not.toContain('hunter2');
    }
  });

  test('a credential inside an address is refused and never shown', async () => {
    const told = await complaints(
      'backends:\n  - { name: a, kind: openai-compatible, url: "https://me:hunter2@x.example/v1" }\n',
    );
    expect(told).toContain('must not carry a user name or password');
    expect(told).not.toContain('hunter2');
  });

  test('root keys come from a variable, a file and a program, current first', async () => {
    const [first, second, third] = [1, 2, 3].map((fill) => Buffer.alloc(32, fill));
    put('old.key', `${second!.toString('hex')}\n`);
    const { secrets } = await good(
      `vault:
  rootKeys:
    - { env: USHER_ROOT_KEY }
    - { file: old.key }
    - { command: [node, -e, 'console.log(Buffer.alloc(32, 3).toString("base64"))'] }
`,
      { USHER_ROOT_KEY: first!.toString('base64'), PATH: process.env['PATH'] ?? '' },
    );
    expect(secrets.rootKeys?.map((bytes) => Buffer.from(bytes))).toEqual([first, second, third]);
  });

  test.each([
    ['{ env: SHORT_KEY }', 'a root key must be 32 bytes'],
    ['{ command: [no-such-program-here] }', 'was not found; give its whole path'],
    ['{ command: [node, -e, "process.exit(3)"] }', 'ended with 3'],
    ['{ command: [node, -e, ""] }', 'printed no key'],
    ['AAAA', 'a secret must not be written in this file'],
  ])('a root key from %s is refused', async (reference, mend) => {
    const told = await complaints(`vault:\n  rootKeys:\n    - ${reference}\n`, {
      SHORT_KEY: 'c2hvcnQ=',
      PATH: process.env['PATH'] ?? '',
    });
    expect(told).toContain(mend);
    expect(told).not.toContain('c2hvcnQ=');
  });
});

describe('embedding models', () => {
  test('are declared by the names that applications ask for, their keys apart', async () => {
    const { config, secrets } = await good(
      `embeddings:
  - { name: text-embedding-3-small, kind: openai, key: { env: OPENAI_API_KEY } }
  - { name: Own.v2, kind: openai-compatible, url: 'http://10.0.0.7:8000/v1/', model: BAAI/bge-m3, batchTexts: 32 }
  - { name: azure, kind: azure-openai, url: 'https://a.openai.azure.com', deployment: small, key: { env: OPENAI_API_KEY } }
`,
      key,
    );
    expect(config.embeddings).toMatchObject([
      { url: 'https://api.openai.com/v1', model: 'text-embedding-3-small', batchTexts: 256, timeoutMs: 60_000 },
      { url: 'http://10.0.0.7:8000/v1', model: 'BAAI/bge-m3', batchTexts: 32, apiVersion: undefined },
      { model: undefined, deployment: 'small', apiVersion: '2024-10-21' },
    ]);
    expect(Object.fromEntries(secrets.embeddingKeys)).toEqual({
      'text-embedding-3-small': key.OPENAI_API_KEY,
      azure: key.OPENAI_API_KEY,
    });
    expect(JSON.stringify(config)).not.toContain(key.OPENAI_API_KEY);
    expect((await good('{}')).config.embeddings).toEqual([]);
  });

  test('what does not hold is told where it stands', async () => {
    const told = await complaints(`embeddings:
  - { name: small, kind: openai, key: { env: OPENAI_API_KEY } }
  - { name: small, kind: openai-compatible, url: 'http://127.0.0.1:9/v1' }
  - { name: porter, kind: openai-compatible, url: 'http://127.0.0.1:9/v1' }
tenants:
  - assistants: [{ name: porter, folder: . }]
`);
    expect(told).toContain('the environment variable OPENAI_API_KEY is not set');
    expect(told).toContain('"small" stands twice; give each its own name');
    expect(told).toContain('an assistant is called "porter" already; choose another name');
    expect(await complaints('embeddings: [{ name: a, kind: openai, key: sk-proj-1234567890 }]\n')).toContain(
      'a secret must not be written in this file',
    );
  });
});

describe('the environment', () => {
  test('traces are on where OTEL variables name a receiver, and off where they say so', async () => {
    const endpoint = { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:4318' };
    expect((await good(undefined, endpoint)).config.telemetry.otel).toBe(true);
    expect((await good(undefined, { ...endpoint, OTEL_SDK_DISABLED: 'true' })).config.telemetry.otel).toBe(false);
    expect((await good(undefined)).config.telemetry.otel).toBe(false);
  });

  test('a port that is none is told', async () => {
    expect(await complaints(undefined, { USHER_PORT: '80a' })).toContain('USHER_PORT must be a number');
  });
});
