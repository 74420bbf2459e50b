import { once } from 'node:events';
import { createServer, type AddressInfo, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { loadConfig, type Config } from '#config';
import { CommandFailure } from './command-context.ts';
import { withFreePort } from './free-port.ts';

let taken: Server;
let port: number;
beforeEach(async () => {
  taken = createServer().listen(0, '127.0.0.1');
  await once(taken, 'listening');
  ({ port } = taken.address() as AddressInfo);
});
afterEach(() => taken.close());

async function configFor(listen: Partial<Config['listen']>): Promise<Config> {
  const loaded = await loadConfig({ env: {}, flags: {}, cwd: tmpdir() });
  if (!loaded.ok) throw new Error('the defaults must hold');
  return { ...loaded.config, listen: { ...loaded.config.listen, ...listen } };
}

describe('withFreePort', () => {
  test('where nobody asked for the port, the next free one is taken', async () => {
    const placed = await withFreePort(await configFor({ port, portMayMove: true }));
    expect(placed.listen.port).toBeGreaterThan(port);
    expect(placed.listen.port).toBeLessThanOrEqual(port + 20);
  });

  test('where it was asked for, it is that one or none', async () => {
    const config = await configFor({ port, portMayMove: false });
    await expect(withFreePort(config)).rejects.toThrow(CommandFailure);
    taken.close();
    await once(taken, 'close');
    expect((await withFreePort(config)).listen.port).toBe(port);
  });

  test('port 0 stays 0: any free one', async () => {
    expect((await withFreePort(await configFor({ port: 0, portMayMove: false }))).listen.port).toBe(0);
  });

  test('an address of another machine is told', async () => {
    const config = await configFor({ host: '192.0.2.1', port: 0 });
    await expect(withFreePort(config)).rejects.toThrow('192.0.2.1 is no address of this machine; give one with --host');
  });
});
