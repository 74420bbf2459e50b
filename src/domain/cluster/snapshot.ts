import { z } from 'zod';
import type { TenantId } from '#access';
import type { ReleaseDigest } from '#release';

/** An environment with its split: the releases lie in the store, named by their digests. */
export interface ServedEnvironment {
  readonly name: string;
  readonly salt: string;
  readonly sides: readonly { readonly release: ReleaseDigest; readonly share: number }[];
  /** When these releases began to serve here, in epoch milliseconds. */
  readonly loadedAtMs: number;
}

export interface ServedTenant {
  readonly id: TenantId;
  readonly limits: { readonly requestsPerMinute: number; readonly concurrency: number };
  readonly corsOrigins: readonly string[];
  /** In the order of the configuration: the first is what the bare address of a server leads to. */
  readonly assistants: readonly { readonly name: string; readonly environments: readonly ServedEnvironment[] }[];
}

/**
 * What every node serves: names, splits and settings that must be equal everywhere, and never
 * content. Published whole under a growing revision and applied whole.
 */
export interface Snapshot {
  readonly tenants: readonly ServedTenant[];
}

const environment = z.object({
  name: z.string().min(1),
  salt: z.string(),
  sides: z
    .array(
      z.object({
        release: z.string().regex(/^sha256:[0-9a-f]{64}$/) as unknown as z.ZodType<ReleaseDigest>,
        share: z.number().positive(),
      }),
    )
    .min(1),
  loadedAtMs: z.number(),
});

/** Not strict: what a newer Usher adds is left out by an older one, which serves what it knows. */
const snapshotSchema: z.ZodType<Snapshot> = z.object({
  tenants: z.array(
    z.object({
      id: z.string().min(1) as unknown as z.ZodType<TenantId>,
      limits: z.object({ requestsPerMinute: z.int().min(1), concurrency: z.int().min(1) }),
      corsOrigins: z.array(z.string()),
      assistants: z.array(z.object({ name: z.string().min(1), environments: z.array(environment) })),
    }),
  ),
});

/** Undefined where the text is no snapshot that this Usher can read. */
export function readSnapshot(text: string): Snapshot | undefined {
  try {
    return snapshotSchema.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}
