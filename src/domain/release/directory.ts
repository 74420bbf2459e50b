import type { TenantId } from '#access';
import type { Release, ReleaseDigest, ScoredPassage } from './spec.ts';

/** A release as an environment serves it. */
export interface ServedRelease {
  readonly assistant: string;
  readonly environment: string;
  readonly release: Release;
  /** Titles of its knowledge's documents, for an answer that can only say what it knows of. */
  readonly topics: readonly string[];
  /** The best passages of the release's knowledge for a question, best first; by words alone where its meaning cannot be had in time. */
  search(question: string, most: number): Promise<readonly ScoredPassage[]>;
}

/** What a model name means: an environment with its split, or one exact release. */
export type Target =
  | {
      readonly kind: 'environment';
      readonly tenant: TenantId;
      readonly assistant: string;
      readonly environment: string;
    }
  | { readonly kind: 'release'; readonly tenant: TenantId; readonly assistant: string; readonly digest: ReleaseDigest };

export interface ListedAssistant {
  readonly assistant: string;
  readonly title: string;
  readonly description: string;
  readonly environments: readonly { readonly environment: string; readonly releases: readonly ReleaseDigest[] }[];
  readonly loadedAtMs: number;
}

/**
 * The frozen snapshot that turns work from. `control` swaps it whole; a turn that began with one
 * snapshot is untouched by the next.
 */
export interface ReleaseDirectory {
  /**
   * Reads `<assistant>`, `<assistant>@<environment>` or `<assistant>@<digest or its first 8+ hex digits>`.
   * @throws UsherError `model_not_found` with the nearest names
   */
  resolve(tenant: TenantId, modelName: string): Promise<Target>;
  /** The side that a unit falls on; an exact release is itself. @throws UsherError `model_not_found` */
  choose(target: Target, unitId: string): Promise<ServedRelease>;
  /** A pinned release, also when no environment serves it any more. @throws UsherError `model_not_found` */
  byDigest(tenant: TenantId, assistant: string, environment: string, digest: ReleaseDigest): Promise<ServedRelease>;
  /** In the order of the configuration. */
  tenants(): readonly TenantId[];
  list(tenant: TenantId): readonly ListedAssistant[];
}
