import { existsSync } from 'node:fs';
import { expect, test } from 'vitest';
import { startModelSimulator } from './model-simulator.ts';
import { startUsher, type UsherProcess } from './process.ts';
import { usherFiles } from './usher-files.ts';

async function ask(usher: UsherProcess, content: string): Promise<string> {
  const response = await fetch(`${usher.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${usher.apiKey}` },
    body: JSON.stringify({ model: 'usher-test', messages: [{ role: 'user', content }] }),
  });
  const { choices } = (await response.json()) as { choices: { message: { content: string } }[] };
  return choices[0]?.message.content ?? '';
}

test('the real program serves, dies at once when killed, comes back on its port, and leaves nothing behind', async () => {
  await using simulator = await startModelSimulator();
  const usher = await startUsher(usherFiles([simulator.baseUrl]));
  try {
    expect(await ask(usher, '[[sim:say Row seven is on the left.]]')).toBe('Row seven is on the left.');
    const { url, pid } = usher;
    expect(await usher.kill('SIGKILL')).toEqual({ code: null, signal: 'SIGKILL' });
    await expect(fetch(url)).rejects.toThrow('fetch failed');
    await usher.restart();
    expect(usher.url).toBe(url);
    expect(usher.pid).not.toBe(pid);
    expect(await ask(usher, '[[sim:say Still there.]]')).toBe('Still there.');
    expect(usher.logs()).toContain('"chat"');
  } finally {
    await usher.stop();
  }
  expect(existsSync(usher.home)).toBe(false);
});

test('a program that does not start is reported with what it wrote', async () => {
  await expect(startUsher({ config: 'backends: 7' })).rejects.toThrow(/usher did not start[\s\S]*backends/u);
});
