import { once } from 'node:events';
import { fork } from 'node:child_process';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { openOpenAiBackend } from '#backend';

/**
 * CPU microseconds that the OpenAI-wire backend alone spends per streamed chunk, the server being
 * another process. Each chunk is its own write, as a model server sends them.
 * `node test/bench/backend-chunk.ts [streams] [chunksEach] [rounds]`
 */
const [streams = 50, chunksEach = 400, rounds = 5] = process.argv.slice(2).map(Number);
const question = { messages: [{ role: 'user', content: 'go' }], parameters: {}, passages: [], question: 'go' } as const;
const timeouts = { connectMs: 10_000, firstTokenMs: 60_000, betweenTokensMs: 60_000, wholeMs: 600_000 };

if (process.send === undefined) await measure();
else serve();

function serve(): void {
  const chunk = `data: ${JSON.stringify({
    id: 'chatcmpl-0123456789',
    object: 'chat.completion.chunk',
    created: 1_700_000_000,
    model: 'bench',
    system_fingerprint: 'fp_0123456789',
    choices: [{ index: 0, delta: { content: ' word' }, logprobs: null, finish_reason: null }],
  })}\n\n`;
  const finish = chunk.replace('"finish_reason":null', '"finish_reason":"stop"');
  const server = createServer((request, response) => {
    request.resume();
    request.socket.setNoDelay(true);
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    let sent = 0;
    const pace = setInterval(() => {
      if (sent++ < chunksEach) {
        response.write(chunk);
        return;
      }
      clearInterval(pace);
      response.end(`${finish}data: [DONE]\n\n`);
    }, 5);
  });
  server.listen(0, '127.0.0.1', () => process.send?.((server.address() as AddressInfo).port));
}

async function measure(): Promise<void> {
  const server = fork(fileURLToPath(import.meta.url), process.argv.slice(2));
  const [port] = (await once(server, 'message')) as [number];
  const backend = openOpenAiBackend({
    name: 'bench',
    kind: 'openai-compatible',
    url: `http://127.0.0.1:${port}/v1`,
    model: 'bench',
  });
  await round(backend);
  const figures: number[] = [];
  for (let nth = 0; nth < rounds; nth++) figures.push(await round(backend));
  await backend.close();
  server.kill();
  figures.sort((a, b) => a - b);
  const report = {
    bench: 'backend-chunk',
    streams,
    chunksEach,
    cpuMicrosecondsPerChunk: { min: figures[0], median: figures[figures.length >> 1], max: figures.at(-1) },
  };
  process.stdout.write(`${JSON.stringify(report)}\n`);
}

async function round(backend: ReturnType<typeof openOpenAiBackend>): Promise<number> {
  let chunks = 0;
  const sink = { event: () => void chunks++ };
  const before = process.cpuUsage();
  const { signal } = new AbortController();
  await Promise.all(Array.from({ length: streams }, () => backend.answer(question, sink, timeouts, signal)));
  const spent = process.cpuUsage(before);
  return Math.round(((spent.user + spent.system) / chunks) * 100) / 100;
}
