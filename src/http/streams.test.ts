import { connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, describe, expect, test } from 'vitest';
import type { Exchange, Route } from '#http';
import { asKey, closeEdges, openEdge, openRaw, statusesIn, type EdgeFixture } from '#test/edge-fixture';

afterEach(closeEdges);

/** The promise is 100 ms; the rest is what a loaded machine of two cores may add, with both ends in one process. */
const goneWithinMs = 1000;

const policy: Route['policy'] = { access: 'public', why: 'the test wants to see the bare edge' };
const ask = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`;

function get(path: string, handle: Route['handle']): Route {
  return { method: 'GET', path, policy, summary: 'Answers the test.', handle };
}

/** A promise and its settling. */
function later<T>() {
  return Promise.withResolvers<T>();
}

async function eventually(isMet: () => boolean, withinMs = 5000): Promise<void> {
  for (let waited = 0; !isMet(); waited += 5) {
    if (waited > withinMs) throw new Error('waited in vain');
    await delay(5);
  }
}

describe('an event stream', () => {
  test('sends its headers at once and each block as it comes, and ends cleanly', async () => {
    const go = later<void>();
    const stream = get('/stream', async (exchange) => {
      const out = exchange.openStream();
      await go.promise;
      await out.write('data: 1\n\n');
      await out.write('data: ü\n\ndata: 3\n\n');
      out.end();
    });
    const { url } = await openEdge([stream]);
    const answer = await fetch(`${url}/stream`);
    expect(Object.fromEntries(answer.headers)).toMatchObject({
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-cache, no-transform',
      'x-accel-buffering': 'no',
    });
    go.resolve();
    expect(await answer.text()).toBe('data: 1\n\ndata: ü\n\ndata: 3\n\n');
  });

  test('sends blocks that come at once in one chunk, coded by bytes, and none of it to HTTP/1.0', async () => {
    const stream = get('/stream', async (exchange) => {
      const out = exchange.openStream();
      void out.write('data: 1\n\n');
      void out.write('data: \u00fc\n\n');
      await delay(20);
      void out.write('data: 3\n\n');
      out.end();
    });
    const { url } = await openEdge([stream]);
    const client = openRaw(url);
    client.socket.write(ask('/stream'));
    const bodyOf = (heard: string): string => heard.slice(heard.indexOf('\r\n\r\n') + 4);
    // Heard as Latin-1, so that each byte is one character.
    expect(bodyOf(await client.hears(/\r\n0\r\n\r\n$/))).toBe(
      '13\r\ndata: 1\n\ndata: \u00c3\u00bc\n\n\r\n9\r\ndata: 3\n\n\r\n0\r\n\r\n',
    );
    client.socket.destroy();
    const old = openRaw(url);
    old.socket.write(ask('/stream').replaceAll('HTTP/1.1', 'HTTP/1.0'));
    expect(bodyOf(await old.closed())).toBe('data: 1\n\ndata: \u00c3\u00bc\n\ndata: 3\n\n');
  });

  test('that is destroyed never looks whole, not even to a client of HTTP/1.0', async () => {
    const stream = get('/stream', async (exchange) => {
      const out = exchange.openStream();
      await out.write('data: 1\n\n');
      await delay(20);
      out.destroy();
    });
    const { url } = await openEdge([stream]);
    await expect(fetch(`${url}/stream`).then((answer) => answer.text())).rejects.toThrow();
    const old = connect({ host: '127.0.0.1', port: Number(new URL(url).port) });
    const ended = later<string>();
    old.on('error', (error: NodeJS.ErrnoException) => ended.resolve(error.code ?? ''));
    old.on('end', () => ended.resolve('a clean end'));
    old.resume().write('GET /stream HTTP/1.0\r\nHost: localhost\r\n\r\n');
    expect(await ended.promise).toBe('ECONNRESET');
  });

  test('that is destroyed right after its last block still tells it', async () => {
    const stream = get('/stream', async (exchange) => {
      const out = exchange.openStream();
      await out.write('data: 1\n\n');
      await delay(20);
      await out.write('data: the reason\n\n');
      out.destroy();
    });
    const { url } = await openEdge([stream]);
    for (const version of ['1.1', '1.0']) {
      const client = openRaw(url);
      client.socket.write(ask('/stream').replace('HTTP/1.1', `HTTP/${version}`));
      await client.hears(/the reason/);
      client.socket.destroy();
    }
  });

  test('asked for by HEAD gives the headers alone', async () => {
    const stream = get('/stream', async (exchange) => {
      const out = exchange.openStream();
      await out.write('data: 1\n\n');
      out.end();
    });
    const answer = await fetch(`${(await openEdge([stream])).url}/stream`, { method: 'HEAD' });
    expect([answer.status, await answer.text()]).toEqual([200, '']);
  });
});

describe('a client that leaves', () => {
  /** Milliseconds from the client's leaving to the abort of the signal, over the same event loop. */
  async function abortAfter(leave: (socket: ReturnType<typeof openRaw>['socket']) => void, handle: Route['handle']) {
    const aborted = later<number>();
    const started = later<void>();
    const watched = get('/watched', async (exchange) => {
      exchange.signal.addEventListener('abort', () => aborted.resolve(performance.now()));
      started.resolve();
      await handle(exchange);
    });
    const { url } = await openEdge([watched]);
    const client = openRaw(url);
    client.send(ask('/watched'));
    await started.promise;
    const leftMs = performance.now();
    leave(client.socket);
    return (await aborted.promise) - leftMs;
  }
  const untilAborted = async (exchange: Exchange): Promise<void> => {
    while (!exchange.signal.aborted) await delay(5);
    exchange.signal.throwIfAborted();
  };

  test('while an answer is being made aborts its signal at once', async () => {
    expect(await abortAfter((socket) => socket.destroy(), untilAborted)).toBeLessThan(goneWithinMs);
    expect(await abortAfter((socket) => socket.resetAndDestroy(), untilAborted)).toBeLessThan(goneWithinMs);
  });

  test('by closing its half of the connection counts as gone too', async () => {
    expect(await abortAfter((socket) => socket.end(), untilAborted)).toBeLessThan(goneWithinMs);
  });

  test('within a stream aborts its signal, and writing on says client_gone', async () => {
    const refused = later<unknown>();
    const elapsedMs = await abortAfter(
      (socket) => socket.destroy(),
      async (exchange) => {
        const out = exchange.openStream();
        while (!exchange.signal.aborted) {
          await out.write('data: x\n\n');
          await delay(1);
        }
        out.write('data: x\n\n')?.catch(refused.resolve);
      },
    );
    expect(elapsedMs).toBeLessThan(goneWithinMs);
    expect(await refused.promise).toMatchObject({ code: 'client_gone' });
  });

  test('is seen by a handler that looks only afterwards', async () => {
    const seen = later<boolean>();
    const left = later<void>();
    const late = get('/late', async (exchange) => {
      await left.promise;
      await delay(50);
      seen.resolve(exchange.signal.aborted);
      exchange.sendJson(200, {});
    });
    const { url } = await openEdge([late]);
    const client = openRaw(url);
    client.send(ask('/late'));
    await delay(50);
    client.socket.destroy();
    left.resolve();
    expect(await seen.promise).toBe(true);
  });

  test('in the middle of its body ends the reading of it', async () => {
    const ended = later<unknown>();
    const { url } = await openEdge([
      {
        ...get('/body', async (exchange) => {
          await exchange.json().catch(ended.resolve);
          exchange.signal.throwIfAborted();
        }),
        method: 'POST',
      },
    ]);
    const client = openRaw(url);
    client.send('POST /body HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{');
    await delay(50);
    client.socket.destroy();
    expect(await ended.promise).toMatchObject({ code: 'client_gone' });
  });

  test('drops the requests it had pipelined behind', async () => {
    const handled: string[] = [];
    const stuck = get('/:name', async (exchange) => {
      handled.push(exchange.params.name ?? '');
      await untilAborted(exchange);
    });
    const { url, log } = await openEdge([stuck]);
    const client = openRaw(url);
    client.send(ask('/a') + ask('/b'));
    await eventually(() => handled.length === 1);
    client.socket.destroy();
    await eventually(() => log.some((line) => line.msg === 'request finished'));
    await delay(20);
    expect(handled).toEqual(['a']);
    expect(log.find((line) => line.msg === 'request finished')).toMatchObject({ status: 499 });
  });
});

describe('a slow reader', () => {
  const block = `data: ${'x'.repeat(8184)}\n\n`;

  /** A reader that takes nothing; what the handler wrote until it had to wait, or was told to stop. */
  async function unread(limits: object, write: (exchange: Exchange) => Promise<void>): Promise<EdgeFixture> {
    const edge = await openEdge([get('/flood', write)], { limits });
    const { hostname, port } = new URL(edge.url);
    const socket = connect({ host: hostname, port: Number(port) }).on('error', () => undefined);
    socket.pause();
    socket.write(ask('/flood'));
    return edge;
  }

  test('makes its writer wait, then is dropped, and what it left unread stays bounded', async () => {
    const end = later<unknown>();
    let bytes = 0;
    const { log } = await unread({ sendBufferBytes: 200_000, readerTimeoutMs: 300 }, async (exchange) => {
      const out = exchange.openStream();
      try {
        for (;;) {
          bytes += block.length;
          await out.write(block);
        }
      } catch (error) {
        end.resolve(error);
        throw error;
      }
    });
    expect(await end.promise).toMatchObject({ code: 'client_gone' });
    await eventually(() => log.some((line) => line.msg === 'connection refused' && line.reason === 'slow'));
    // The kernel's own buffers on both sides take a few megabytes of the loopback's.
    expect(bytes).toBeLessThan(20_000_000);
  });

  test('that catches up goes on', async () => {
    const total = 3000;
    const flood = get('/flood', async (exchange) => {
      const out = exchange.openStream();
      let waits = 0;
      for (let sent = 0; sent < total; sent += 1) {
        const caughtUp = out.write(block);
        if (caughtUp) waits += 1;
        await caughtUp;
      }
      await out.write(`data: waited ${waits > 0}\n\n`);
      out.end();
    });
    const { url } = await openEdge([flood], { limits: { sendBufferBytes: 100_000 } });
    const answer = await fetch(`${url}/flood`);
    await delay(200);
    const text = await answer.text();
    expect(text.length).toBe(total * block.length + 'data: waited true\n\n'.length);
    expect(text.endsWith('data: waited true\n\n')).toBe(true);
  });

  test('is dropped at once where its writer does not wait, and the process lives on', async () => {
    const dropped = later<number>();
    const { url, log } = await unread({ sendBufferBytes: 200_000 }, async (exchange) => {
      const out = exchange.openStream();
      let bytes = 0;
      while (!exchange.signal.aborted && bytes < 500_000_000) {
        void out.write(block);
        bytes += block.length;
        if (bytes % (block.length * 64) === 0) await delay(0);
      }
      dropped.resolve(bytes);
    });
    expect(await dropped.promise).toBeLessThan(20_000_000);
    expect(log).toContainEqual(expect.objectContaining({ msg: 'connection refused', reason: 'slow' }));
    expect((await fetch(`${url}/nowhere`)).status).toBe(404);
  });

  test('is dropped too where the stream has ended and only its reading is left', async () => {
    const { log } = await unread({ sendBufferBytes: 50_000_000, readerTimeoutMs: 300 }, async (exchange) => {
      const out = exchange.openStream();
      await out.write(`data: ${'x'.repeat(20_000_000)}\n\n`);
      out.end();
    });
    await eventually(() => log.some((line) => line.msg === 'connection refused' && line.reason === 'slow'));
    await eventually(() => log.some((line) => line.msg === 'request finished'));
  });

  test('of a whole answer is dropped too', async () => {
    const { log } = await unread({ readerTimeoutMs: 300 }, async (exchange) =>
      exchange.send(200, 'application/octet-stream', Buffer.alloc(50_000_000)),
    );
    await eventually(() => log.some((line) => line.msg === 'connection refused' && line.reason === 'slow'));
    await eventually(() => log.some((line) => line.msg === 'request finished'));
  });
});

describe('a stop', () => {
  const running = (finish: Promise<void>, started: () => void): Route =>
    get('/stream', async (exchange) => {
      const out = exchange.openStream();
      await out.write('data: 1\n\n');
      started();
      await finish;
      await out.write('data: [DONE]\n\n');
      out.end();
    });

  test('lets a running stream come to its end, and refuses what comes anew', async () => {
    const finish = later<void>();
    const started = later<void>();
    const edge = await openEdge([running(finish.promise, () => started.resolve())]);
    const { url } = edge;
    const idle = openRaw(url);
    idle.send(ask('/nowhere'));
    await idle.hears(/404/);
    const answer = fetch(`${url}/stream`).then((stream) => stream.text());
    await started.promise;
    const closed = edge.close({ drainMs: 10_000 });
    await idle.closed();
    await expect(fetch(`${url}/nowhere`)).rejects.toThrow();
    finish.resolve();
    expect(await answer).toBe('data: 1\n\ndata: [DONE]\n\n');
    await closed;
  });

  test('destroys what has not ended by the deadline, so that nobody takes it for whole', async () => {
    const started = later<void>();
    const finish = later<void>();
    const edge = await openEdge([running(finish.promise, () => started.resolve())]);
    const client = openRaw(edge.url);
    client.send(ask('/stream'));
    await started.promise;
    await client.hears(/data: 1/);
    let isClosed = false;
    const closed = edge.close({ drainMs: 100 }).then(() => (isClosed = true));
    expect(await client.closed()).not.toMatch(/\r\n0\r\n\r\n$/);
    // The handler may still record what it made: whoever closes what it works with waits for it.
    expect(isClosed).toBe(false);
    finish.resolve();
    await closed;
  });

  test('says no to the load balancer while it still serves, and asks clients to reconnect', async () => {
    const edge = await openEdge([get('/x', async (exchange) => exchange.sendJson(200, {}))]);
    const before = await fetch(`${edge.url}/x`, { headers: asKey });
    expect(before.headers.get('connection')).toBe('keep-alive');
    const closed = edge.close({ drainMs: 1000, announceMs: 300 });
    expect(edge.draining).toBe(true);
    const client = openRaw(edge.url);
    client.send(ask('/x'));
    const heard = await client.closed();
    expect(statusesIn(heard)).toEqual([200]);
    expect(heard).toMatch(/connection: close/i);
    await closed;
  });
});
