import { setTimeout as sleep } from 'node:timers/promises';
import { UsherError } from '#base';
import type { TenantId } from '#access';
import type { EmbeddingBackend } from '#backend';
import type { KnowledgeIndex } from '#knowledge';
import type { Release } from '#release';
import { embedTexts, type VectorRooms } from './embed-texts.ts';
import { ReleaseMeaning } from './release-meaning.ts';
import { embeddedText, VectorArchive, type KnownVectors } from './vector-archive.ts';

/** Texts whose vectors are stored together: a failure costs these at the most. */
const batchTexts = 256;
/** A question waits no longer for its vector. */
const questionMs = 2000;
/** After a failure, questions do not wait at all for so long. */
const quietMs = 10_000;
const questionCharactersMax = 4000;
const retryMaxMs = 600_000;
/** Releases that wait for the next try; older ones are given up, since newer ones have taken their place. */
const owedMax = 50;

interface Owed {
  readonly tenant: TenantId;
  readonly release: Release;
}

/**
 * Vectors of releases' passages: made once where a release is published, read wherever it is served.
 * Nothing here keeps a release from being served: what has no vector is found by its words.
 */
export class KnowledgeVectors {
  readonly #rooms: VectorRooms;
  readonly #models: ReadonlyMap<string, EmbeddingBackend>;
  readonly #archive: VectorArchive;
  readonly #retryMs: number;
  readonly #publishMs: number;
  readonly #closing = new AbortController();
  readonly #quietUntilMs = new Map<string, number>();
  readonly #owed = new Map<string, Owed>();
  #failures = 0;
  #timer: NodeJS.Timeout | undefined;

  /**
   * @param models by the names that `usher.yaml` gives them
   * @param options `retryMs`: until the first retry, doubled with each that fails; `publishMs`: how long a
   * release waits for its vectors before it serves without
   */
  constructor(
    rooms: VectorRooms,
    models: ReadonlyMap<string, EmbeddingBackend>,
    { retryMs = 15_000, publishMs = 10_000 }: { readonly retryMs?: number; readonly publishMs?: number } = {},
  ) {
    this.#retryMs = retryMs;
    this.#publishMs = publishMs;
    this.#rooms = rooms;
    this.#models = models;
    this.#archive = new VectorArchive(rooms);
  }

  /** Search by meaning too; undefined where the release asks for none, or this node has not its model. */
  async open(tenant: TenantId, release: Release, index: KnowledgeIndex): Promise<ReleaseMeaning | undefined> {
    const model = this.#modelOf(release);
    if (model === undefined || release.passages.length === 0) return undefined;
    const texts = release.passages.map(embeddedText);
    const complete = async (known: KnownVectors): Promise<KnownVectors> => {
      const missing = texts.filter((_, at) => known[at] === undefined);
      const found = (await this.#archive.read(tenant, model, missing)).values();
      return texts.map((_, at) => known[at] ?? found.next().value);
    };
    const embedQuestion = (question: string): Promise<Float32Array | undefined> =>
      this.#embedQuestion(tenant, model, question);
    return new ReleaseMeaning({ rooms: this.#rooms, index, complete, embedQuestion }, await complete([]));
  }

  /**
   * Makes the vectors that are not stored yet. Settles after a while all the same: what takes longer goes
   * on, and where the model gives none it is tried again later.
   */
  async make(tenant: TenantId, release: Release): Promise<void> {
    const made = new AbortController();
    const patience = sleep(this.#publishMs, undefined, { signal: made.signal }).catch(() => undefined);
    await Promise.race([this.#makeOrOwe({ tenant, release }), patience]);
    made.abort();
  }

  /** Stops what is under way; what is not stored yet is made at the next start. */
  close(): void {
    this.#closing.abort();
    clearTimeout(this.#timer);
  }

  #modelOf({ spec }: Release): EmbeddingBackend | undefined {
    return spec.knowledge.embeddings === undefined ? undefined : this.#models.get(spec.knowledge.embeddings);
  }

  async #makeOrOwe(owed: Owed): Promise<void> {
    const isMade = await this.#tryMake(owed.tenant, owed.release).catch((error: unknown) => this.#tellFailure(error));
    if (!isMade) this.#owe(owed);
  }

  /** False where some are missing still. */
  async #tryMake(tenant: TenantId, release: Release): Promise<boolean> {
    const model = this.#modelOf(release);
    if (model === undefined) return true;
    const texts = [...new Set(release.passages.map(embeddedText))];
    const known = await this.#archive.read(tenant, model, texts);
    const missing = texts.filter((_, at) => known[at] === undefined);
    const about = { tenant, assistant: release.spec.name, release: release.digest, model: model.name };
    let toldTenths = 0;
    for (let from = 0; from < missing.length; from += batchTexts) {
      const batch = missing.slice(from, from + batchTexts);
      const embedded = await embedTexts(this.#rooms, tenant, model, batch, this.#closing.signal);
      if (embedded.result === 'failed') {
        const { reason } = embedded;
        if (!this.#closing.signal.aborted) {
          this.#rooms.telemetry.knowledgeUnembedded({ ...about, reason, missing: missing.length - from });
        }
        return false;
      }
      await this.#archive.put(tenant, model, batch, embedded.vectors);
      const done = from + batch.length;
      const tenths = Math.floor((done / missing.length) * 10);
      if (tenths > toldTenths) this.#rooms.telemetry.knowledgeEmbedded({ ...about, done, total: missing.length });
      toldTenths = tenths;
    }
    return true;
  }

  #owe(owed: Owed): void {
    const key = `${owed.tenant}\0${owed.release.digest}`;
    this.#owed.delete(key);
    this.#owed.set(key, owed);
    const [oldest] = this.#owed.keys();
    if (this.#owed.size > owedMax && oldest !== undefined) this.#owed.delete(oldest);
    this.#plan();
  }

  #plan(): void {
    if (this.#timer !== undefined || this.#closing.signal.aborted || this.#owed.size === 0) return;
    const waitMs = Math.min(this.#retryMs * 2 ** this.#failures, retryMaxMs);
    this.#timer = setTimeout(() => void this.#retry(), waitMs).unref();
  }

  /** One release after another; the first that fails ends the round. */
  async #retry(): Promise<void> {
    for (const [key, { tenant, release }] of this.#owed) {
      const isMade = await this.#tryMake(tenant, release).catch((error: unknown) => this.#tellFailure(error));
      this.#failures = isMade ? 0 : this.#failures + 1;
      if (!isMade) break;
      this.#owed.delete(key);
    }
    this.#timer = undefined;
    this.#plan();
  }

  #tellFailure(error: unknown): false {
    const { telemetry } = this.#rooms;
    // The store may be closed by now.
    if (this.#closing.signal.aborted) return false;
    if (error instanceof UsherError) telemetry.storeFailed({ operation: 'passageVectors', code: error.code });
    else telemetry.unexpected({ where: 'passage vectors', error });
    return false;
  }

  async #embedQuestion(tenant: TenantId, model: EmbeddingBackend, question: string): Promise<Float32Array | undefined> {
    const { clock } = this.#rooms;
    if (clock.monotonicMs() < (this.#quietUntilMs.get(model.name) ?? 0)) return undefined;
    const signal = AbortSignal.any([this.#closing.signal, AbortSignal.timeout(questionMs)]);
    const embedded = await embedTexts(this.#rooms, tenant, model, [question.slice(0, questionCharactersMax)], signal);
    if (embedded.result === 'done') return embedded.vectors[0];
    // One that is refused, as for its length, says nothing of the next, which may be another tenant's.
    if (!embedded.isRefused) this.#quietUntilMs.set(model.name, clock.monotonicMs() + quietMs);
    return undefined;
  }
}
