import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import OpenAI from 'openai';
import { describe, expect, test } from 'vitest';
import { startModelSimulator } from '#test/model-simulator';
import { startUsher, type UsherProcess } from '#test/process';
import { usherFiles } from '#test/usher-files';

const checkout = fileURLToPath(new URL('../..', import.meta.url));

function clientOf(usher: Pick<UsherProcess, 'url' | 'apiKey'>): OpenAI {
  return new OpenAI({ baseURL: `${usher.url}/v1`, apiKey: usher.apiKey, maxRetries: 0 });
}

describe('the main job', () => {
  test('as the README says: one command, and the example assistant answers from the documentation', async () => {
    const dataDir = await mkdtemp(join(tmpdir(), 'usher-first-run-'));
    const child = spawn('npm', ['start', '--', '--json', '--port', '0', '--data', dataDir], {
      cwd: checkout,
      env: withoutModels(process.env),
      stdio: ['ignore', 'pipe', 'inherit'],
      detached: true,
    });
    try {
      const ready = await jsonLine(child.stdout);
      const answer = await clientOf(ready).responses.create({ model: 'guide', input: 'How do I rotate the root key?' });
      expect(answer.output_text).toContain('usher keys rotate-root');
      expect(answer.output_text).toMatch(/no language model|no model/i);
      expect(JSON.stringify(answer.output)).toContain('file_citation');
    } finally {
      process.kill(-child.pid!, 'SIGKILL');
      await once(child, 'exit');
      await rm(dataDir, { recursive: true, force: true });
    }
  });

  test('killed in the middle of an answer and started again, it has every turn that it acknowledged', async () => {
    await using simulator = await startModelSimulator();
    await using usher = await startUsher(usherFiles([simulator.baseUrl], { assistants: { helper: {} } }));
    const client = clientOf(usher);
    const { id: conversation } = await client.conversations.create();
    const acknowledged = new Map<string, string>();
    for (const word of ['first', 'second', 'third']) {
      const made = await client.responses.create({ model: 'helper', conversation, input: `[[sim:say ${word}]]` });
      acknowledged.set(made.id, made.output_text);
    }
    await simulator.plan({ tokens: 1000, tokenMs: 10 });
    const stream = await client.responses.create({
      model: 'helper',
      conversation,
      input: 'the long one',
      stream: true,
    });
    let begun = '';
    const reading = (async () => {
      let pieces = 0;
      for await (const event of stream) {
        if (event.type === 'response.created') begun = event.response.id;
        if (event.type === 'response.output_text.delta' && (pieces += 1) === 10) await usher.kill();
      }
    })();
    await expect(reading).rejects.toThrow();

    await usher.restart();
    for (const [id, text] of acknowledged) {
      expect(await client.responses.retrieve(id)).toMatchObject({ status: 'completed', output_text: text });
    }
    // The answer that was cut off is made anew, and whoever comes back for it hears it to its end.
    const rest = await client.responses.retrieve(begun, { stream: true });
    let last = '';
    for await (const event of rest) last = event.type;
    expect(last).toBe('response.completed');
    expect(await client.responses.retrieve(begun)).toMatchObject({ status: 'completed' });
    const items = await client.conversations.items.list(conversation, { order: 'asc' });
    expect(items.data.filter((item) => item.type === 'message' && item.role === 'user')).toHaveLength(4);
    const next = await client.responses.create({ model: 'helper', conversation, input: '[[sim:say back again]]' });
    expect(next.output_text).toBe('back again');
  });

  test('a revoked key is refused by the next request', async () => {
    await using simulator = await startModelSimulator();
    await using usher = await startUsher(usherFiles([simulator.baseUrl], { assistants: { helper: {} } }));
    const client = clientOf(usher);
    await client.models.list();
    const listed = await usherCommand([
      'keys',
      'list',
      '--json',
      '--data',
      usher.dataDir,
      '--config',
      join(usher.home, 'usher.yaml'),
    ]);
    const [key] = JSON.parse(listed) as { id: string }[];
    await usherCommand([
      'keys',
      'revoke',
      key!.id,
      '--data',
      usher.dataDir,
      '--config',
      join(usher.home, 'usher.yaml'),
    ]);
    await expect(client.models.list()).rejects.toMatchObject({ status: 401 });
  });

  test('two releases side by side: each person keeps their side, each conversation its release', async () => {
    await using simulator = await startModelSimulator();
    const production = { split: ['now', 'next'].map((side) => ({ folder: `./${side}`, share: 1 })) };
    const spec = { name: 'helper' };
    await using usher = await startUsher(
      usherFiles([simulator.baseUrl], {
        assistants: {
          now: { spec, instructions: 'You are the release of today.' },
          next: { spec, instructions: 'You are the release of tomorrow.' },
        },
        config: { tenants: [{ assistants: [{ name: 'helper', environments: { production } }] }] },
      }),
    );
    const client = clientOf(usher);
    const served = new Map<string, string>();
    for (let person = 0; person < 24; person += 1) {
      const asked = { model: 'helper', input: '[[sim:say hi]]', safety_identifier: `person-${person}` };
      served.set(asked.safety_identifier, (await client.responses.create(asked)).model);
      expect((await client.responses.create(asked)).model).toBe(served.get(asked.safety_identifier));
    }
    expect(new Set(served.values()).size).toBe(2);
    const { id } = await client.conversations.create();
    const begun = await client.responses.create({ model: 'helper', conversation: id, input: '[[sim:say hi]]' });
    const another = 'You are another release.';
    await usher.write({ 'now/instructions.md': another, 'next/instructions.md': another });
    await usher.restart();
    const after = await client.responses.create({ model: 'helper', conversation: id, input: '[[sim:say hi]]' });
    expect(after.model).toBe(begun.model);
    const { requests } = await simulator.log();
    expect(JSON.stringify(requests.at(-1)?.body)).toMatch(/You are the release of (today|tomorrow)/);
  });
});

function withoutModels(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !/^(OPENAI|USHER|OTEL|OLLAMA)_/.test(name)));
}

async function jsonLine(output: NodeJS.ReadableStream): Promise<{ url: string; chat: string; apiKey: string }> {
  for await (const line of createInterface({ input: output })) {
    if (line.startsWith('{"url"')) return JSON.parse(line) as { url: string; chat: string; apiKey: string };
  }
  throw new Error('it ended without the line of readiness');
}

async function usherCommand(args: readonly string[]): Promise<string> {
  const child = spawn(process.execPath, [join(checkout, 'bin/usher.js'), ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
  const [code] = (await once(child, 'close')) as [number];
  if (code !== 0) throw new Error(`usher ${args.join(' ')} ended with ${code}`);
  return output;
}
