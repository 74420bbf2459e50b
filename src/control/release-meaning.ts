import { UsherError } from '#base';
import { tableOf, type KnowledgeIndex, type VectorTable } from '#knowledge';
import type { ScoredPassage } from '#release';
import type { VectorRooms } from './embed-texts.ts';
import type { KnownVectors } from './vector-archive.ts';

/** How often vectors that were missing are looked for again: another node may have made them. */
const lookEveryMs = 10_000;

export interface MeaningParts {
  readonly rooms: Pick<VectorRooms, 'clock' | 'telemetry'>;
  readonly index: KnowledgeIndex;
  /** Looks for those that are missing. */
  readonly complete: (known: KnownVectors) => Promise<KnownVectors>;
  /** Undefined where it could not be told in time. */
  readonly embedQuestion: (question: string) => Promise<Float32Array | undefined>;
}

/** Search over a release by words and by meaning, with as many vectors of its passages as there are. */
export class ReleaseMeaning {
  readonly #parts: MeaningParts;
  #table: VectorTable | undefined;
  /** As they were read; undefined once none is missing. */
  #partial: KnownVectors | undefined;
  #lookedAtMs: number;

  constructor(parts: MeaningParts, vectors: KnownVectors) {
    this.#parts = parts;
    this.#take(vectors);
    this.#lookedAtMs = parts.rooms.clock.monotonicMs();
  }

  /** Of its vectors, in memory. */
  get bytes(): number {
    return this.#table?.numbers.byteLength ?? 0;
  }

  /** By words alone where no vector can be had. */
  async search(question: string, most: number): Promise<readonly ScoredPassage[]> {
    const { index, embedQuestion } = this.#parts;
    if (most <= 0) return [];
    this.#lookAgain();
    const passages = this.#table;
    if (passages === undefined || question.trim() === '') return index.search(question, most);
    const vector = await embedQuestion(question);
    if (vector?.length !== passages.dimensions) return index.search(question, most);
    return index.searchBoth(question, { vector, passages }, most);
  }

  /** Without keeping the question waiting that noticed it. */
  #lookAgain(): void {
    const { clock, telemetry } = this.#parts.rooms;
    const nowMs = clock.monotonicMs();
    const known = this.#partial;
    if (known === undefined || nowMs - this.#lookedAtMs < lookEveryMs) return;
    this.#lookedAtMs = nowMs;
    void this.#parts.complete(known).then(
      (vectors) => this.#take(vectors),
      (error: unknown) => {
        if (error instanceof UsherError) telemetry.storeFailed({ operation: 'passageVectors', code: error.code });
        else telemetry.unexpected({ where: 'passage vectors', error });
      },
    );
  }

  #take(vectors: KnownVectors): void {
    this.#table = tableOf(vectors);
    this.#partial = vectors.includes(undefined) ? vectors : undefined;
  }
}
