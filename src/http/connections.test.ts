import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { closeEdges, openEdge } from '#test/edge-fixture';
import { createCallerOrigin } from './caller-origin.ts';
import { Connections } from './connections.ts';

afterEach(closeEdges);

describe('connections of one address', () => {
  test('are bounded, and each that closes makes room for one', async () => {
    const connections = new Connections({ perAddressMax: 2, isOfMany: () => false });
    const admitted: boolean[] = [];
    await using server = createServer((socket) => void admitted.push(connections.add(socket.resume())));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const open = async (): Promise<Socket> => {
      const socket = connect(port, '127.0.0.1');
      socket.on('error', () => undefined);
      await once(server, 'connection');
      return socket;
    };
    const [first] = [await open(), await open()];
    const third = await open();
    await expect.poll(() => third.closed).toBe(true);
    expect(admitted).toEqual([true, true, false]);
    first.destroy();
    await expect.poll(() => connections.size).toBe(1);
    await open();
    expect(admitted).toEqual([true, true, false, true]);
    connections.destroyAll();
  });

  test('are not, where many callers stand behind it: this machine and trusted proxies', async () => {
    const { url } = await openEdge([], { limits: { connectionsPerAddress: 1 } });
    const answers = await Promise.all(Array.from({ length: 5 }, () => fetch(`${url}/nothing`)));
    expect(answers.map(({ status }) => status)).toEqual([404, 404, 404, 404, 404]);
    const listen = { host: '0.0.0.0', port: 0, publicUrl: undefined, trustedProxies: ['10.0.0.0/8'] };
    const caller = createCallerOrigin(listen);
    const of = (remoteAddress: string): boolean => caller.isOfMany({ remoteAddress } as Socket);
    const addresses = ['127.0.0.1', '::1', '10.1.2.3', '::ffff:10.1.2.3', '192.0.2.7', '2001:db8::1'];
    expect(addresses.filter(of)).toEqual(['127.0.0.1', '::1', '10.1.2.3', '::ffff:10.1.2.3']);
  });
});
