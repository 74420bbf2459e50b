import { UsherError } from '#base';
import type { Telemetry } from '#telemetry';

export interface Outage {
  /** Runs it; a failure is told, and told again only after it went well in between. Answers whether it went well. */
  during(run: () => Promise<unknown>): Promise<boolean>;
}

/** For what a node asks of the store all the time: one line for an outage, not one for each try. */
export function openOutage(telemetry: Pick<Telemetry, 'storeFailed' | 'unexpected'>, operation: string): Outage {
  let told: string | undefined;
  return {
    async during(run) {
      try {
        await run();
        told = undefined;
        return true;
      } catch (error) {
        const code = error instanceof UsherError ? error.code : 'internal';
        if (told !== code) {
          if (error instanceof UsherError) telemetry.storeFailed({ operation, code });
          else telemetry.unexpected({ where: operation, error });
        }
        told = code;
        return false;
      }
    },
  };
}
