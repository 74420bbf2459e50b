import { relative, sep } from 'node:path';
import { watch } from 'chokidar';
import { isIgnored } from '#release';
import type { Reload } from './load-folders.ts';
import type { FolderPublisher } from './publish-folders.ts';

export interface WatchOptions {
  /** After each reload that changed or rejected something. */
  readonly onReload: (reload: Reload) => void;
  /** A reload that failed for another reason than the folders: the store, the vault. */
  readonly onFailure: (error: unknown) => void;
  /** Quiet time after the last change: editors write a file in several steps. */
  readonly debounceMs?: number;
}

/**
 * Reloads the folders when a file of its folders changes. A bad edit keeps the last good release.
 * Settles when the watch has begun; changes from before the call are picked up too.
 */
export async function watchAssistants(
  publisher: Pick<FolderPublisher, 'folders' | 'reload'>,
  options: WatchOptions,
): Promise<AsyncDisposable> {
  const folders = publisher.folders();
  const { debounceMs = 150 } = options;
  let timer: NodeJS.Timeout | undefined;
  let running: Promise<void> = Promise.resolve();
  const reload = async (): Promise<void> => {
    try {
      const result = await publisher.reload();
      if (result.loaded.length > 0 || result.rejected.length > 0) options.onReload(result);
    } catch (error) {
      options.onFailure(error);
    }
  };
  const schedule = (): void => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      running = reload();
    }, debounceMs);
  };
  const watcher = watch([...folders], {
    ignoreInitial: true,
    followSymlinks: false,
    ignored: (path) => isIgnoredBelow(folders, path),
  });
  watcher.on('all', schedule).on('error', options.onFailure);
  await new Promise<void>((resolve) => watcher.once('ready', resolve));
  schedule();
  return {
    async [Symbol.asyncDispose]() {
      clearTimeout(timer);
      await watcher.close();
      await running;
    },
  };
}

function isIgnoredBelow(folders: readonly string[], path: string): boolean {
  const below = folders.map((folder) => relative(folder, path)).filter((inner) => !inner.startsWith('..'));
  return below.length > 0 && below.every((inner) => inner !== '' && inner.split(sep).some((step) => isIgnored(step)));
}
