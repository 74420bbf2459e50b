import { UsherError, newId } from '#base';
import { reachOf, type UserPrincipal } from '#access';
import type { ModelParameters } from '#release';
import { isSpoken, notSpoken } from './archive/admit-said.ts';
import type { TurnRooms } from './turn-rooms.ts';
import type { AdmittedTurn, TurnRequest } from './turn-steps.ts';

/**
 * Step 1: may this caller ask for such a turn? `mayBeSilent`: it may be about what was said before alone.
 *
 * @throws UsherError `forbidden`, `invalid_request`, `shutting_down`
 */
export function admit(rooms: TurnRooms, request: TurnRequest, mayBeSilent = false): AdmittedTurn {
  if (rooms.draining()) {
    throw new UsherError('shutting_down', 'This node is stopping. Repeat the request; another node will take it.', {
      retryAfterMs: 1000,
    });
  }
  const { principal } = request;
  if (principal.kind === 'user') restrictToTalking(request, principal);
  if (request.input.length === 0 && !mayBeSilent) {
    throw new UsherError('invalid_request', 'Nothing was said. Send at least one message.', { param: 'input' });
  }
  const startedAtMs = rooms.clock.wallMs();
  return {
    id: newId('turn', startedAtMs),
    request,
    reach: reachOf(principal),
    startedAtMs,
    startedMonotonicMs: rooms.clock.monotonicMs(),
  };
}

/**
 * A person at the page may speak as themselves only: instructions, tools, parameters and invented
 * answers of the assistant are for applications. The browser's code is theirs to change.
 */
function restrictToTalking(request: TurnRequest, user: UserPrincipal): void {
  if (request.model !== user.assistant && !request.model.startsWith(`${user.assistant}@`)) {
    throw new UsherError('forbidden', `This token is for the assistant "${user.assistant}" only.`, { param: 'model' });
  }
  const denied = deniedField(request);
  if (denied !== undefined) {
    throw new UsherError('forbidden', `An end user's token may not set "${denied}". Call with an API key instead.`, {
      param: denied,
    });
  }
  if (!request.input.every((item) => isSpoken(item))) throw notSpoken('input');
  if (request.settings.length > settingsCharactersMax) {
    throw new UsherError('too_large', 'The settings beside the message are too long. Send less.', {
      param: 'metadata',
    });
  }
}

/** Of a person's turn; all metadata that the wire takes fits. */
const settingsCharactersMax = 65_536;

function deniedField(request: TurnRequest): string | undefined {
  if (request.model.includes('@')) return 'model';
  if (request.subject !== undefined) return 'safety_identifier';
  if (request.instructions !== undefined) return 'instructions';
  const [unknown] = Object.keys(request.extra);
  if (unknown !== undefined) return unknown;
  if (request.tools.length > 0 || request.fileSearch !== undefined) return 'tools';
  if (request.toolChoice !== undefined && request.toolChoice !== 'auto') return 'tool_choice';
  if (request.compaction !== undefined) return 'context_management';
  if (request.format !== undefined) return 'text.format';
  const [parameter] = Object.keys(request.parameters) as (keyof ModelParameters)[];
  return parameter && parameterNames[parameter];
}

/** As callers write them. */
const parameterNames: Readonly<Record<keyof ModelParameters, string>> = {
  temperature: 'temperature',
  topP: 'top_p',
  maxOutputTokens: 'max_output_tokens',
  stop: 'stop',
  seed: 'seed',
  presencePenalty: 'presence_penalty',
  frequencyPenalty: 'frequency_penalty',
  reasoningEffort: 'reasoning.effort',
};
