import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { startFaultProxy, type FaultProxy } from './fault-proxy.ts';

/** Answers each byte with itself, in capitals. */
let target: Server;
let proxy: FaultProxy;
const clients: Socket[] = [];

beforeEach(async () => {
  target = createServer((socket) => {
    socket.on('error', () => {});
    socket.on('data', (bytes) => socket.write(bytes.toString().toUpperCase()));
  });
  target.listen(0, '127.0.0.1');
  await once(target, 'listening');
  proxy = await startFaultProxy((target.address() as AddressInfo).port);
});

afterEach(async () => {
  for (const client of clients.splice(0)) client.destroy();
  await proxy.stop();
  target.close();
  await once(target, 'close');
});

async function open(): Promise<Socket> {
  const client = connect(proxy.port, '127.0.0.1');
  clients.push(client);
  await once(client, 'connect');
  return client;
}

/** Reads until `length` characters have come. */
async function read(client: Socket, length: number): Promise<string> {
  let text = '';
  while (text.length < length) text += String((await once(client, 'data'))[0]);
  return text;
}

const elapsed = async (work: () => Promise<unknown>): Promise<number> => {
  const startedAt = performance.now();
  await work();
  return performance.now() - startedAt;
};

test('without faults bytes and both ends pass through', async () => {
  const client = await open();
  client.end('row seven');
  expect(await read(client, 9)).toBe('ROW SEVEN');
  await once(client, 'end');
  expect(proxy.bytes).toEqual({ up: 9, down: 9 });
});

test('latency delays each direction it is set for, and ends at once when lifted', async () => {
  const client = await open();
  proxy.set('both', { latencyMs: 60 });
  const echo = async (): Promise<void> => {
    client.write('a');
    await read(client, 1);
  };
  expect(await elapsed(echo)).toBeGreaterThanOrEqual(118);
  proxy.set('up', {});
  expect(await elapsed(echo)).toBeGreaterThanOrEqual(58);
});

test('jitter keeps the order of the bytes', async () => {
  const client = await open();
  proxy.set('both', { latencyMs: 1, jitterMs: 20 });
  const letters = 'abcdefghijklmnopqrstuvwxyz';
  for (const letter of letters) {
    client.write(letter);
    await new Promise(setImmediate);
  }
  expect(await read(client, 26)).toBe(letters.toUpperCase());
});

test('bandwidth holds the bytes to its pace', async () => {
  const client = await open();
  proxy.set('down', { bytesPerSecond: 20_000 });
  client.write('x'.repeat(4000));
  expect(await elapsed(() => read(client, 4000))).toBeGreaterThanOrEqual(190);
});

test.each([1, 7])('slices of at most %i bytes reach the client as reads of their own', async (sliceMax) => {
  const client = await open();
  const sizes: number[] = [];
  client.on('data', (bytes) => sizes.push(bytes.length));
  proxy.set('down', { sliceMax });
  client.write('x'.repeat(50));
  await read(client, 50);
  expect(sizes.length).toBeGreaterThan(1);
  expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(50);
});

test('a cut is seen as an end after the bytes that were let through', async () => {
  const client = await open();
  proxy.set('down', { cutAfterBytes: 5 });
  let text = '';
  client.on('data', (bytes) => (text += String(bytes)));
  client.write('row seven');
  await once(client, 'end');
  expect(text).toBe('ROW S');
});

test('a reset is seen as one', async () => {
  const client = await open();
  proxy.set('down', { resetAfterBytes: 3 });
  client.write('row seven');
  const [error] = (await once(client, 'error')) as [NodeJS.ErrnoException];
  expect(error.code).toBe('ECONNRESET');
  expect(proxy.connections.open).toBe(0);
});

test('cut and reset strike open connections at once', async () => {
  const first = await open();
  first.write('a');
  await read(first, 1);
  proxy.cut();
  first.resume();
  await once(first, 'end');
  const second = await open();
  second.write('a');
  await read(second, 1);
  proxy.reset();
  const [error] = (await once(second, 'error')) as [NodeJS.ErrnoException];
  expect(error.code).toBe('ECONNRESET');
});

test('in a black hole nothing arrives until it is lifted, then all of it does', async () => {
  const client = await open();
  let text = '';
  client.on('data', (bytes) => (text += String(bytes)));
  proxy.set('up', { blackhole: true });
  client.write('row');
  await new Promise((resolve) => {
    setTimeout(resolve, 80);
  });
  expect(text).toBe('');
  expect(proxy.bytes.up).toBe(0);
  client.write(' seven');
  proxy.set('up', {});
  while (text.length < 9) await once(client, 'data');
  expect(text).toBe('ROW SEVEN');
});

test('a sender is held back while the other side does not take its bytes', async () => {
  const client = await open();
  client.on('error', () => {});
  proxy.set('up', { blackhole: true });
  const much = Buffer.alloc(1024 * 1024, 'x');
  let sent = 0;
  while (client.write(much) || sent < 16) sent += 1;
  await new Promise((resolve) => {
    setTimeout(resolve, 50);
  });
  expect(client.writableNeedDrain).toBe(true);
});

test('while it does not listen new connections are refused, and open ones live on', async () => {
  const old = await open();
  old.write('a');
  await read(old, 1);
  await proxy.setListening(false);
  const refused = connect(proxy.port, '127.0.0.1');
  const [error] = (await once(refused, 'error')) as [NodeJS.ErrnoException];
  expect(error.code).toBe('ECONNREFUSED');
  old.write('b');
  expect(await read(old, 1)).toBe('B');
  await proxy.setListening(true);
  const fresh = await open();
  fresh.write('c');
  expect(await read(fresh, 1)).toBe('C');
});

test('an unreachable target is seen as a reset', async () => {
  const dead = await startFaultProxy(1);
  const client = connect(dead.port, '127.0.0.1');
  const [error] = (await once(client, 'error')) as [NodeJS.ErrnoException];
  expect(error.code).toBe('ECONNRESET');
  await dead.stop();
});
