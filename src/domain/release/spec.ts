import type { Branded } from '#base';
import type { ReleaseTool } from './tool-spec.ts';

/** `sha256:` + 64 hex digits over the canonical content of an assistant folder. */
export type ReleaseDigest = Branded<string, 'ReleaseDigest'>;

/** How a model is asked. Absent means: the backend's own default. */
export interface ModelParameters {
  readonly temperature?: number;
  readonly topP?: number;
  readonly maxOutputTokens?: number;
  readonly stop?: readonly string[];
  readonly seed?: number;
  readonly presencePenalty?: number;
  readonly frequencyPenalty?: number;
  readonly reasoningEffort?: string;
}

/** `assistant.yaml`, validated. Its zod schema is the source; the schema's inferred type must equal this. */
export interface AssistantSpec {
  readonly name: string;
  readonly title: string;
  readonly description: string;
  /** Pools in order of preference; a lone `model` on a pool overrides the backend's own model name. */
  readonly pools: readonly { readonly pool: string; readonly model?: string }[];
  readonly parameters: ModelParameters;
  readonly context: {
    /** Tokens of instructions, knowledge and history together. */
    readonly budgetTokens: number;
    /** What becomes of history that does not fit: the oldest is left out, or what is older is summarised. */
    readonly whenFull: 'truncate' | 'compact';
    /** The share of the budget beyond which it is summarised. */
    readonly compactAt: number;
  };
  readonly knowledge: {
    /** Passages quoted into the prompt at the most; 0 switches retrieval off. */
    readonly passages: number;
    /** Whether passages go with each question, or the model looks for them itself. Absent in older releases: `prompt`. */
    readonly search?: 'prompt' | 'tool';
    /** The embedding model of `usher.yaml` that passages are also found by; absent: by their words alone. */
    readonly embeddings?: string;
  };
  readonly limits: {
    readonly inputCharacters: number;
    readonly turnsPerMinutePerUser: number;
  };
  readonly turns: {
    /** What becomes of an answer that broke off, when its backend or its node is lost. */
    readonly rescue: 'continue' | 'restart' | 'fail';
    /** What becomes of a message that comes while the conversation has a running turn. */
    readonly whileBusy: 'refuse' | 'queue';
    readonly queueMax: number;
    readonly queueMs: number;
    /** How long a stored turn goes on after its last listener left. */
    readonly outliveClientMs: number;
  };
  /** When and how a person takes over; undefined: never. */
  readonly handover?: {
    /** Whether the model may ask for a person. */
    readonly tool: boolean;
    /** A message that holds one of these, in whatever case, goes to a person at once. */
    readonly phrases: readonly string[];
    readonly announce: string;
    /** How long a message waits for a person. */
    readonly waitMs: number;
    /** What is said where nobody answered in time; undefined: the assistant answers itself. */
    readonly missed?: string;
  };
  readonly page: {
    /** `public`: anyone may open `/chat/<assistant>`; `token`: only holders of an end-user token. */
    readonly access: 'public' | 'token';
    /** Sites that may embed the widget, as origins; empty: none but our own. */
    readonly origins: readonly string[];
    readonly suggestions: readonly string[];
  };
  /** The sentence that tells people they talk to an AI. */
  readonly disclosure: string;
}

/** A piece of a knowledge document, small enough to quote. */
export interface Passage {
  /** Path below `knowledge/`, with `#anchor` of the heading where there is one. */
  readonly source: string;
  readonly title: string;
  readonly text: string;
}

/** A passage as a search found it. */
export interface ScoredPassage extends Passage {
  /** Its place among the release's passages. */
  readonly row: number;
  /** Above 0; comparable within one search alone. */
  readonly score: number;
}

/** Immutable content of an assistant, named by its digest. */
export interface Release {
  readonly digest: ReleaseDigest;
  readonly spec: AssistantSpec;
  readonly instructions: string;
  readonly passages: readonly Passage[];
  /** What Usher itself may do for the model; undefined where there is nothing. */
  readonly tools?: readonly ReleaseTool[];
}
