import { BackendFailure, type AnswerEnd, type AnswerSink, type Backend, type ModelRequest } from '../port.ts';
import { composeAnswer, type Occasion } from './compose-answer.ts';

export interface KnowledgeBackendOptions {
  readonly name: string;
  /** `stand-in` where it answers for models that fail; default `alone`: no model is configured. */
  readonly occasion?: Occasion;
}

/** Quotations of one answer together, in characters, where the request asks for no fewer tokens. */
const quotedCharactersMax = 2_000;
const charactersPerToken = 4;

/** Answers with the best passages of the assistant's own knowledge, quoted and cited; asks no model. */
export function openKnowledgeBackend(options: KnowledgeBackendOptions): Backend {
  const occasion = options.occasion ?? 'alone';
  return {
    name: options.name,
    description: 'knowledge only: quotes the documents, no language model',
    answer: (request, sink, _timeouts, signal) => answer(options.name, occasion, request, sink, signal),
    probe: async () => ({ models: [] }),
    close: async () => undefined,
  };
}

async function answer(
  name: string,
  occasion: Occasion,
  request: ModelRequest,
  sink: AnswerSink,
  signal: AbortSignal,
): Promise<AnswerEnd> {
  if (request.format !== undefined || (request.toolChoice !== undefined && isForced(request.toolChoice))) {
    const what = 'quotes documents: it can neither call tools nor answer in JSON. Configure a language model for that.';
    throw new BackendFailure('refused', name, `Backend "${name}" ${what}`);
  }
  if (request.byModel === true) {
    throw new BackendFailure(
      'refused',
      name,
      `Backend "${name}" quotes documents: it cannot write. Configure a language model.`,
    );
  }
  const events = composeAnswer({
    question: request.question,
    passages: request.passages,
    topics: request.topics ?? [],
    charactersMax: Math.min(quotedCharactersMax, (request.parameters.maxOutputTokens ?? Infinity) * charactersPerToken),
    occasion,
  });
  if (!signal.aborted) sink.head?.({});
  for (const event of events) {
    if (signal.aborted) throw new BackendFailure('aborted', name, `The request to backend "${name}" was cancelled.`);
    await sink.event(event);
  }
  return { finish: 'stop', usage: noTokens };
}

/** No model was asked: nothing was spent, and that is no estimate. */
const noTokens = { inputTokens: 0, cachedInputTokens: 0, outputTokens: 0, reasoningTokens: 0, estimated: false };

function isForced(choice: NonNullable<ModelRequest['toolChoice']>): boolean {
  return choice === 'required' || typeof choice === 'object';
}
