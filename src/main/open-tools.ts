import { systemClock } from '#base';
import type { Config, Secrets } from '#config';
import type { Telemetry } from '#telemetry';
import { openToolRoom, type ToolRoom } from '#tools';

/** The room of tools, with what `usher.yaml` lets them use and reach. */
export function openTools(config: Config, secrets: Secrets, telemetry: Telemetry): ToolRoom {
  return openToolRoom({
    credentials: config.tools.credentials.flatMap((declared) => {
      const secret = secrets.toolCredentials.get(declared.name);
      return secret === undefined ? [] : [{ ...declared, secret }];
    }),
    privateOrigins: config.tools.privateOrigins,
    clock: systemClock,
    telemetry,
  });
}
