import { createHmac } from 'node:crypto';
import { UsherError } from '#base';
import type { TenantId } from '#access';
import type { EmbeddingBackend } from '#backend';
import type { Passage } from '#release';
import type { Sealed } from '#vault';
import type { PublishRooms } from './publish-release.ts';

/** A vector may be missing: it was not made yet, or cannot be read any more and is to be made anew. */
export type KnownVectors = readonly (Float32Array | undefined)[];

/** Vectors read from the store in one go. */
const rowsAtOnce = 64;

/** What is embedded of a passage: its title says what the text is about where the text alone does not. */
export function embeddedText({ title, text }: Passage): string {
  return `${title}\n\n${text}`;
}

/**
 * Vectors of texts in the store, each under the content of its text, so that a text that stays from
 * one release to the next is embedded once. Sealed under the tenant's key, since a vector tells of its text.
 */
export class VectorArchive {
  readonly #rooms: PublishRooms;

  constructor(rooms: PublishRooms) {
    this.#rooms = rooms;
  }

  /** In the order of the texts. @throws UsherError of the store and the vault */
  async read(tenant: TenantId, model: EmbeddingBackend, texts: readonly string[]): Promise<KnownVectors> {
    const { store, vault } = this.#rooms;
    const [hashOf, content] = await Promise.all([this.#hasher(tenant), vault.subject(tenant, null)]);
    const hashes = texts.map(hashOf);
    const wanted = new Map(hashes.map((hash) => [hash.toString('hex'), hash]));
    const found = new Map<string, Float32Array>();
    const sought = [...wanted.values()];
    for (let from = 0; from < sought.length; from += rowsAtOnce) {
      const rows = await store
        .reach({ tenant, subject: null })
        .passageVectors(spaceOf(model), sought.slice(from, from + rowsAtOnce));
      for (const { textHash, vector } of rows) {
        const hex = Buffer.from(textHash).toString('hex');
        const opened = openVector(() => content.open(placeOf(model, hex), vector));
        if (opened !== undefined) found.set(hex, opened);
      }
    }
    return hashes.map((hash) => found.get(hash.toString('hex')));
  }

  /** Settles after the commit. No text twice. @throws UsherError of the store and the vault */
  async put(
    tenant: TenantId,
    model: EmbeddingBackend,
    texts: readonly string[],
    vectors: readonly Float32Array[],
  ): Promise<void> {
    const { store, vault, clock } = this.#rooms;
    const [hashOf, content] = await Promise.all([this.#hasher(tenant), vault.subject(tenant, null)]);
    const rows = texts.map((text, at): { textHash: Uint8Array; vector: Sealed } => {
      const textHash = hashOf(text);
      const { buffer, byteOffset, byteLength } = vectors[at]!;
      const bytes = new Uint8Array(buffer, byteOffset, byteLength);
      return { textHash, vector: content.seal(placeOf(model, textHash.toString('hex')), bytes) };
    });
    await store.reach({ tenant, subject: null }).putPassageVectors(spaceOf(model), rows, clock.wallMs());
  }

  /** Keyed, so that nobody who reads the table can tell whether a text is among the knowledge. */
  async #hasher(tenant: TenantId): Promise<(text: string) => Buffer> {
    const key = await this.#rooms.vault.derive(tenant, 'passage vectors');
    return (text) => createHmac('sha256', key).update(text).digest();
  }
}

/** Vectors of one model can be compared; the same name may come to mean another model. */
function spaceOf({ name, model }: EmbeddingBackend): string {
  return `${name} ${model}`;
}

function placeOf(model: EmbeddingBackend, hex: string): { readonly table: string; readonly row: string } {
  return { table: 'passage_vectors', row: `${spaceOf(model)} ${hex}` };
}

function openVector(open: () => Buffer): Float32Array | undefined {
  try {
    const bytes = open();
    // A copy, since a view of 32-bit numbers must begin at a multiple of four bytes.
    return new Float32Array(new Uint8Array(bytes).buffer);
  } catch (error) {
    if (error instanceof UsherError && error.code === 'data_damaged') return undefined;
    throw error;
  }
}
