import type { Id } from '#base';
import type { Principal, Reach, SubjectId } from '#access';
import type { RetrievedPassage, FunctionTool, ModelRequest } from '#backend';
import type { ApprovalRequestItem, Item, ItemId, MessageItem, Summary } from '#conversation';
import type { ModelParameters, Passage, ServedRelease } from '#release';
import type { ConversationRow, RepeatKeys } from '#store';
import type { SubjectVault } from '#vault';

/** What a caller asks for, already validated and free of the wire's own words. */
export interface TurnRequest {
  readonly principal: Principal;
  /** `<assistant>`, `<assistant>@<environment>` or `<assistant>@<digest>`. */
  readonly model: string;
  /** The person behind an application's call, as the application names them. */
  readonly subject: string | undefined;
  readonly conversation: Id<'conversation'> | undefined;
  readonly previous: Id<'turn'> | undefined;
  /** Whether content is kept. What was served, and for how many tokens, always is. */
  readonly stored: boolean;
  /** Whether it runs without a listener; stored then. */
  readonly background: boolean;
  /** Whether it is listed among the completions, where it is stored. */
  readonly completion: boolean;
  /** What its request is recognised by when it comes again. */
  readonly repeat: RepeatHint | undefined;
  /** The end user's own bearer, for tools that declare that they need it. Kept while the turn is not over. */
  readonly userAuthorisation: string | undefined;
  /** Whether its caller can be asked to approve a call, and knows how to answer. */
  readonly mayApprove: boolean;
  /** Calls of the assistant's own tools at the most. */
  readonly toolCallsMax: number | undefined;
  /** What becomes of history that does not fit the context; undefined: what the assistant's owner set. */
  readonly whenFull: 'truncate' | 'refuse' | undefined;
  /** Where the caller wants history to be compacted, and beyond how many tokens; undefined: the owner's share. */
  readonly compaction: { readonly thresholdTokens: number | undefined } | undefined;
  readonly input: readonly Item[];
  /** The item of its conversation that the input stands in place of: it and all after it go as the turn begins. */
  readonly replaces?: ItemId | undefined;
  /**
   * Places of the passages that were recalled for it: the same stand before whatever node goes on with it, so that
   * the numbers of its marks mean the same. Undefined until then.
   */
  readonly recalled?: readonly number[] | undefined;
  /** The application's own instructions for this turn, after the assistant's. */
  readonly instructions: string | undefined;
  readonly parameters: ModelParameters;
  /** Parameters that are not known here, for backends that know them. Applications only. */
  readonly extra: Readonly<Record<string, unknown>>;
  readonly tools: readonly FunctionTool[];
  /** The caller lets the model search the assistant's knowledge itself. */
  readonly fileSearch: FileSearch | undefined;
  readonly toolChoice: ModelRequest['toolChoice'];
  readonly parallelCalls: boolean | undefined;
  readonly format: ModelRequest['format'];
  /** Whether what the model thinks is given sealed too, for a caller who keeps the conversation. */
  readonly sealsReasoning: boolean;
  /** The caller's settings as text, kept sealed with a stored turn to answer a later retrieve with. */
  readonly settings: string;
}

/** How the model may search the assistant's knowledge. */
export interface FileSearch {
  readonly resultsMax: number | undefined;
  /** What scores less than this share of the best is left out. */
  readonly scoreMin: number | undefined;
}

/** How a request tells that it may be, or is, one that came before. */
export interface RepeatHint {
  /** The caller's own `Idempotency-Key`. */
  readonly idempotencyKey: string | undefined;
  /** Whether the client says that it repeats, as OpenAI's do. */
  readonly isAnnounced: boolean;
  /** The body as text, always the same for the same request. */
  readonly body: string;
}

/** After admit: such a turn may be asked for. */
export interface AdmittedTurn {
  readonly id: Id<'turn'>;
  readonly request: TurnRequest;
  readonly reach: Reach;
  readonly startedAtMs: number;
  readonly startedMonotonicMs: number;
}

/** After resolve: which release serves whom. It counts against its tenant's limits until `release` is called. */
export interface PlannedTurn extends AdmittedTurn {
  readonly served: ServedRelease;
  readonly subject: SubjectId;
  readonly conversation: ConversationRow | undefined;
  readonly repeats: RepeatKeys;
  /** Gives its place back; harmless when called again. */
  readonly release: () => void;
}

/** A passage with its place among those of the release. */
export type RecalledPassage = RetrievedPassage & { readonly row: number };

/** What a turn has to say to a model, before it is fitted into the context. */
export interface Memory {
  /** Of what was said before `past`. */
  readonly summary: Summary | undefined;
  /** What was said before the question, oldest first, as far back as it may be of use. */
  readonly past: readonly Item[];
  /** Instructions of the application that came with the question. */
  readonly standing: readonly MessageItem[];
  /** From the question on. */
  readonly fresh: readonly Item[];
  readonly passages: readonly RecalledPassage[];
  /** Tokens of the functions that the model is offered, as far as they are known. */
  readonly toolTokens: number;
  /** What a person asked last. */
  readonly question: string;
  /** Calls that this turn brings the approval of. */
  readonly approved: readonly ApprovalRequestItem[];
}

/** After recall: what the model will be asked. `vault` is the subject's, present where content is kept. */
export interface PromptedTurn extends PlannedTurn {
  readonly prompt: ModelRequest;
  /** Passages that stand before the model under a number, the first under 1. */
  readonly sources: readonly Passage[];
  readonly promptTokens: number;
  readonly memory: Memory;
  readonly vault: SubjectVault | undefined;
}
