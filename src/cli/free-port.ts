import { createServer } from 'node:net';
import type { Config } from '#config';
import { CommandFailure } from './command-context.ts';

/** Ports tried after the first, where nobody asked for a certain one. */
const furtherPorts = 20;

/**
 * The configuration with a port that is free now.
 * @throws CommandFailure when the port that was asked for is taken, or the address is not ours.
 */
export async function withFreePort(config: Config): Promise<Config> {
  const { host, port, portMayMove } = config.listen;
  const last = portMayMove ? port + furtherPorts : port;
  for (let candidate = port; candidate <= last; candidate += 1) {
    const refusal = await refusalOf(host, candidate);
    if (refusal === undefined) return { ...config, listen: { ...config.listen, port: candidate } };
    if (refusal !== 'EADDRINUSE') throw new CommandFailure(refusalSentence(host, candidate, refusal));
  }
  throw new CommandFailure(
    portMayMove
      ? `the ports ${port} to ${last} of ${host} are all taken; stop what uses one, or give another with --port`
      : `port ${port} of ${host} is taken; stop what uses it, or give another with --port`,
  );
}

function refusalSentence(host: string, port: number, code: string): string {
  switch (code) {
    case 'EACCES':
      return `this user may not listen on port ${port}; choose one above 1023, and let a proxy serve port 80 or 443`;
    case 'EADDRNOTAVAIL':
    case 'ENOTFOUND':
      return `${host} is no address of this machine; give one with --host`;
    default:
      return `cannot listen on ${host} port ${port} (${code}); choose others with --host and --port`;
  }
}

/** The code of the error that listening there gives, undefined where it works. */
function refusalOf(host: string, port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? 'unknown reason'));
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(undefined)));
  });
}
