import { InvalidArgumentError, Option } from 'commander';
import type { Role } from '#cluster';
import { isPort, parseRoles, rolesWanted } from '#config';

export function configOption(): Option {
  return new Option('-c, --config <file>', 'configuration file (default: usher.yaml in this folder, if there is one)');
}

export function dataOption(): Option {
  return new Option('-d, --data <folder>', 'where everything is kept (default: .usher in this folder)');
}

export function hostOption(): Option {
  return new Option('--host <address>', 'address to listen on (default: 127.0.0.1; 0.0.0.0 for every network)');
}

export function portOption(): Option {
  return new Option('-p, --port <number>', 'port, 0 for any free one (default: 8080, or the next free one)').argParser(
    (text: string) => {
      if (!isPort(text)) throw new InvalidArgumentError('Give a number from 0 to 65535.');
      return Number(text);
    },
  );
}

export function roleOption(): Option {
  return new Option('--role <roles>', `what this process does: ${rolesWanted} (default: all)`).argParser(
    (text: string): readonly Role[] => {
      const named = parseRoles(text);
      if (named === undefined) throw new InvalidArgumentError(`Give ${rolesWanted}.`);
      return named;
    },
  );
}

export function jsonOption(description: string): Option {
  return new Option('--json', description);
}
