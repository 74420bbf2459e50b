const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/**
 * Settles at the first signal to stop, or when the launcher that started this process is gone.
 * Called before the server says that it serves, so that no signal after that is missed. A second
 * signal ends the process at once, with the code that shells give a killed one.
 */
export function stopRequest(): Promise<void> {
  return new Promise<void>((resolve) => {
    let asked = false;
    const stop = (signal: (typeof signals)[number]): void => {
      if (asked) process.exit(signal === 'SIGINT' ? 130 : 143);
      asked = true;
      if (process.stderr.isTTY)
        process.stderr.write('\nFinishing the answers under way. Ctrl-C again stops at once.\n');
      resolve();
    };
    for (const signal of signals) process.on(signal, stop);
    process.once('disconnect', () => resolve());
    // The channel to the launcher must not keep a stopped server alive.
    process.channel?.unref();
  });
}
