import type { RunningUsher } from './command-context.ts';

const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/**
 * Waits for a signal to stop, or for the end of the launcher that started this process, and closes.
 * A second signal ends the process at once, with the code that shells give a killed one.
 */
export async function untilStopped(usher: Pick<RunningUsher, 'close'>): Promise<void> {
  await new Promise<void>((resolve) => {
    let asked = false;
    const stop = (signal: (typeof signals)[number]): void => {
      if (asked) process.exit(signal === 'SIGINT' ? 130 : 143);
      asked = true;
      if (process.stderr.isTTY)
        process.stderr.write('\nFinishing the answers under way. Ctrl-C again stops at once.\n');
      resolve();
    };
    for (const signal of signals) process.on(signal, stop);
    // The launcher is connected by a channel; it must not keep a stopped server alive.
    process.once('disconnect', () => resolve());
    process.channel?.unref();
  });
  await usher.close();
}
