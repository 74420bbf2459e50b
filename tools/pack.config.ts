import { defineConfig } from 'vitest/config';

/** The package as it would be published: slow, since it installs from the registry. */
export default defineConfig({
  test: { include: ['tools/pack.slow.ts'], testTimeout: 600_000, hookTimeout: 600_000 },
});
