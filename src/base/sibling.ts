/**
 * The URL of a module beside the caller, for a worker or a child process: `.ts` in a checkout,
 * `.js` in the published package.
 */
export function siblingModule(importMetaUrl: string, name: string): URL {
  const extension = importMetaUrl.endsWith('.ts') ? '.ts' : '.js';
  return new URL(`./${name}${extension}`, importMetaUrl);
}
