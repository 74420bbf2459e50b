import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import OpenAI from 'openai';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startModelSimulator, type ModelSimulator } from '#test/model-simulator';
import { startUsher, type UsherProcess } from '#test/process';
import { usherFiles } from '#test/usher-files';

const assistant = 'guide';
const paragraph = 'All the world is a stage. '.repeat(400);

/** Where the room ends, and how more of it is given. */
interface Room {
  readonly name: string;
  readonly storage: object;
  readonly dataDir?: string;
  /** What an owner does while it runs. */
  free(client: OpenAI, kept: Map<string, string>): Promise<void>;
  enlarge(usher: UsherProcess): Promise<void>;
  remove(): void;
}

const quota: Room = {
  name: 'a database that may grow no more',
  storage: { kind: 'sqlite', bytesMax: 1 << 20 },
  free: async (client, kept) => {
    for (const id of [...kept.keys()].slice(0, 5)) {
      await client.responses.delete(id);
      kept.delete(id);
    }
  },
  enlarge: ({ home }) => writeFile(join(home, 'usher.yaml'), filesOf({ kind: 'sqlite' }).config),
  remove: () => undefined,
};

/** A file system of two megabytes; undefined where this user may not mount one. */
function smallDisk(): Room | undefined {
  const dataDir = mkdtempSync(join(tmpdir(), 'usher-small-disk-'));
  try {
    mount('size=2m', dataDir);
  } catch {
    rmSync(dataDir, { recursive: true });
    return undefined;
  }
  return {
    name: 'a full disk',
    storage: { kind: 'sqlite' },
    dataDir,
    free: async () => mount('remount,size=4m', dataDir),
    enlarge: async () => mount('remount,size=32m', dataDir),
    remove: () => {
      execFileSync('umount', [dataDir]);
      rmSync(dataDir, { recursive: true });
    },
  };
}

function mount(options: string, folder: string): void {
  execFileSync('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', folder], { stdio: 'pipe' });
}

let simulator: ModelSimulator;

beforeAll(async () => {
  simulator = await startModelSimulator();
});
afterAll(async () => {
  await simulator?.stop();
});

function filesOf(storage: object): ReturnType<typeof usherFiles> {
  return usherFiles([simulator.baseUrl], { assistants: { [assistant]: {} }, config: { storage } });
}

describe.each([quota, smallDisk()].filter((room) => room !== undefined))('$name', (room) => {
  const kept = new Map<string, string>();
  let usher: UsherProcess;
  let client: OpenAI;
  let conversation: string;

  beforeAll(async () => {
    const { dataDir } = room;
    usher = await startUsher({ ...filesOf(room.storage), ...(dataDir === undefined ? {} : { dataDir }) });
    client = new OpenAI({ baseURL: `${usher.url}/v1`, apiKey: usher.apiKey, maxRetries: 0 });
    conversation = (await client.conversations.create()).id;
    await client.responses.create({ model: assistant, conversation, input: '[[sim:say The first]]' });
  });
  afterAll(async () => {
    await usher?.stop();
    room.remove();
  });

  /** Stores answers until one is refused, and answers why. */
  async function fill(): Promise<unknown> {
    for (let turn = 0; turn < 1000; turn += 1) {
      try {
        const made = await client.responses.create({
          model: assistant,
          input: `[[sim:say Line ${turn}]] ${paragraph}`,
        });
        kept.set(made.id, made.output_text);
      } catch (error) {
        return error;
      }
    }
    throw new Error('it was never full');
  }

  async function demandAllKept(): Promise<void> {
    for (const [id, text] of kept) expect((await client.responses.retrieve(id)).output_text).toBe(text);
  }

  test('refuses what would have to be stored, with a code that tells clients not to repeat it', async () => {
    const refusal = await fill();
    expect(kept.size).toBeGreaterThan(5);
    expect(refusal).toMatchObject({ status: 507, code: 'storage_full', type: 'server_error', param: null });
    expect((refusal as { headers: globalThis.Headers }).headers.get('x-should-retry')).toBe('false');
    const items = [{ type: 'message' as const, role: 'user' as const, content: paragraph.repeat(3) }];
    await expect(client.conversations.create({ items })).rejects.toMatchObject({ status: 507, code: 'storage_full' });
  });

  test('shows all that it acknowledged, and answers what need not be stored', async () => {
    await demandAllKept();
    expect((await client.conversations.items.list(conversation)).data).toHaveLength(2);
    expect((await client.models.list()).data).toHaveLength(2);
    const spoken = await client.chat.completions.create({
      model: assistant,
      messages: [{ role: 'user', content: '[[sim:say Still here]]' }],
    });
    expect(spoken.choices[0]?.message.content).toBe('Still here');
  });

  test('an answer that does not fit any more is told as failed, and its conversation is free once there is room', async () => {
    // Where the question still fits, the answer does not.
    const stream = client.responses.stream({
      model: assistant,
      conversation,
      input: 'Tell me all. [[sim:tokens 30000]]',
    });
    const told = await stream.finalResponse().catch((error: unknown) => error);
    expect(['failed', 507]).toContain((told as { status: unknown }).status);
    await room.free(client, kept);
    const next = (): Promise<string> =>
      client.responses.create({ model: assistant, conversation, input: '[[sim:say Room again]]' }).then(
        ({ output_text: text }) => text,
        (error: unknown) => String(error),
      );
    await expect.poll(next, { timeout: 10_000 }).toBe('Room again');
  });

  test('nothing is corrupt: with more room all is there after the next start, and it takes more', async () => {
    await usher.kill('SIGKILL');
    await room.enlarge(usher);
    await usher.restart();
    await demandAllKept();
    for (let turn = 0; turn < 5; turn += 1) {
      await client.responses.create({ model: assistant, input: `[[sim:say More]] ${paragraph}` });
    }
    await usher.kill('SIGTERM');
    const db = new DatabaseSync(join(usher.dataDir, 'usher.db'), { readOnly: true });
    expect(db.prepare('pragma integrity_check').get()).toEqual({ integrity_check: 'ok' });
    db.close();
  });
});
