import { z } from 'zod';
import { newId, UsherError } from '#base';
import type { CallItem, Item } from '#conversation';
import { argumentsSchema, calledNameSchema } from './read-items.ts';
import { functionShape } from './read-tools.ts';

/** What Chat Completions called tools before it had them: `functions` and `function_call`. */
export const functionsShape = {
  functions: z
    .array(z.object(functionShape).omit({ strict: true }))
    .max(128)
    .nullish()
    .describe('The older name of `tools`. Applications only.'),
  function_call: z
    .union([z.enum(['none', 'auto']), z.object({ name: z.string().describe('The function that must be asked for.') })])
    .nullish()
    .describe('The older name of `tool_choice`.'),
};

export const calledFunctionSchema = z.object({ name: calledNameSchema, arguments: argumentsSchema });

/** Whether a body asks for functions by their older name, and is answered by it. */
export function asksFunctions(body: { readonly functions?: unknown; readonly tools?: unknown }): boolean {
  if (body.functions == null) return false;
  if (body.tools == null) return true;
  throw new UsherError('invalid_request', 'Send "tools" or its older name "functions", not both.', {
    param: 'functions',
  });
}

/** A call by its older name has no id: the newest of its function is what a result is of. */
export function readCalledFunction({ name, arguments: text }: z.infer<typeof calledFunctionSchema>): CallItem {
  const id = newId('call');
  return { kind: 'call', id, callId: namelessCall(id), name, arguments: text, status: 'completed' };
}

/** Whether a call was read by its older name. */
export function isCalledFunction({ id, callId }: CallItem): boolean {
  return callId === namelessCall(id);
}

function namelessCall(id: CallItem['id']): string {
  return id.replace('fc_', 'call_');
}

/** Ties the results of functions to their calls. @throws UsherError `invalid_request` for one without a call */
export function tieResults(items: readonly (Item | NamedResult)[]): Item[] {
  const newest = new Map<string, string>();
  return items.map((item) => {
    if (item.kind === 'call') newest.set(item.name, item.callId);
    if (item.kind !== 'named-result') return item;
    const callId = newest.get(item.name);
    if (callId === undefined) {
      throw new UsherError(
        'invalid_request',
        'A message of the role "function" follows no call of its function. Send the call before it.',
        { param: 'messages' },
      );
    }
    return { kind: 'result', id: newId('result'), callId, output: item.output, status: 'completed' };
  });
}

/** A result of a function, by its name alone. */
export interface NamedResult {
  readonly kind: 'named-result';
  readonly name: string;
  readonly output: string;
}
