import { connect } from 'node:net';
import * as fc from 'fast-check';

export interface ByteFuzzOptions {
  readonly url: string;
  readonly runs?: number;
  /** To repeat a run that failed. */
  readonly seed?: number;
}

const lines = [
  'GET / HTTP/1.1',
  'POST /v1/responses HTTP/1.1',
  'GET http://evil/ HTTP/1.1',
  'OPTIONS * HTTP/1.1',
  'PRI * HTTP/2.0',

  'Host: localhost',
  'Host: evil',
  'Host',
  ': x',
  'Content-Length: 5',
  'Content-Length: 99999999999999999999',
  'Transfer-Encoding: chunked',
  'Transfer-Encoding: gzip, chunked',
  'Connection: upgrade',
  'Upgrade: websocket',

  'Expect: 100-continue',
  'Expect: x',
  'Content-Type: application/json',
  '5',
  '0',
  'ffffffffffffffff',
  '{"a":1}',
  '',
];

/** How long a connection that says nothing of its own accord is listened to before the test leaves it. */
const patienceMs = 60;

/**
 * Says arbitrary and nearly right bytes on raw sockets, in arbitrary pieces. Whatever is answered
 * must begin like HTTP, and afterwards the server must still serve. Throws with the seed.
 */
export async function fuzzBytes(options: ByteFuzzOptions): Promise<{ readonly seed: number }> {
  const { url, runs = 150, seed = Date.now() % 2 ** 31 } = options;
  const line = fc.oneof(
    { weight: 6, arbitrary: fc.constantFrom(...lines) },
    { weight: 1, arbitrary: fc.string({ unit: 'binary', maxLength: 60 }) },
  );
  const nearly = fc
    .array(fc.tuple(line, fc.constantFrom('\r\n', '\r\n', '\r\n', '\r\n\r\n', '\n', '\r')), { maxLength: 14 })
    .map((parts) => Buffer.from(parts.flat().join(''), 'latin1'));
  const bytes = fc.oneof(
    nearly,
    nearly,
    fc.uint8Array({ maxLength: 400 }).map((noise) => Buffer.from(noise)),
  );
  const cuts = fc.array(fc.nat({ max: 400 }), { maxLength: 3 });
  await fc.assert(
    fc.asyncProperty(bytes, cuts, async (said, at) => {
      const heard = await say(url, pieces(said, at));
      if (heard !== '' && !heard.startsWith('HTTP/1.1 ')) throw new Error(`answered ${JSON.stringify(heard)}`);
      const { status } = await fetch(`${url}/livez`);
      if (status >= 500) throw new Error(`serves no more: ${status}`);
    }),
    { seed, numRuns: runs },
  );
  return { seed };
}

function pieces(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const edges = [0, ...cuts.map((cut) => cut % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
  return edges.slice(1).map((end, index) => bytes.subarray(edges[index], end));
}

/** What is heard until the server closes or has nothing more to say. */
function say(url: string, said: readonly Buffer[]): Promise<string> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve) => {
    let heard = '';
    const socket = connect({ host: hostname, port: Number(port), noDelay: true });
    const leave = setTimeout(() => socket.destroy(), patienceMs);
    socket.on('data', (bytes) => {
      heard += bytes.toString('latin1');
    });
    socket.on('error', () => undefined);
    socket.on('close', () => {
      clearTimeout(leave);
      resolve(heard);
    });
    socket.on('connect', () => {
      for (const piece of said) socket.write(piece);
    });
  });
}
