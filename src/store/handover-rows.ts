import type { Id } from '#base';
import type { SubjectId } from '#access';
import type { Sealed } from '#vault';

/** A conversation, or a chain of turns, that a person answers instead of the assistant. */
export interface HandoverRow {
  readonly id: Id<'handover'>;
  readonly subject: SubjectId;
  readonly assistant: string;
  /** Null for a chain of turns without one. */
  readonly conversation: Id<'conversation'> | null;
  /** `missed`: nobody answered in time. */
  readonly state: 'open' | 'returned' | 'missed';
  readonly openedBy: 'model' | 'rule' | 'operator';
  readonly openedAtMs: number;
  readonly endedAtMs: number | null;
}

/** How the handover stands in which a turn waits, and what a person answered to it. */
export interface HandoverReply extends Pick<HandoverRow, 'id' | 'state' | 'openedAtMs'> {
  readonly reply: Sealed | null;
}

export interface ListedHandover extends HandoverRow {
  /** The turn that waits for an answer now. */
  readonly waiting: Id<'turn'> | null;
  /** The last turn of it, waiting or ended. */
  readonly latest: Id<'turn'> | null;
}
