import { UsherError } from '#base';

type Fields = Readonly<Record<string, unknown>>;

/** @throws UsherError `invalid_request` where what is said, or a tool, is written as Chat Completions takes it */
export function refuseChatForm(body: unknown): void {
  const { input, messages, tools } = fieldsOf(body);
  if (input === undefined && messages !== undefined) {
    throw written('messages', '"messages" is for Chat Completions. Send "input", or call /v1/chat/completions.');
  }
  const nested = Array.isArray(tools) ? tools.findIndex((tool) => isNested(fieldsOf(tool))) : -1;
  if (nested === -1) return;
  throw written(
    `tools[${nested}]`,
    `"tools[${nested}]" is written as Chat Completions takes it. Here "name", "description" and "parameters" stand beside "type".`,
  );
}

/** @throws UsherError `invalid_request` where what is said is written as Responses takes it */
export function refuseResponsesForm(body: unknown): void {
  const { input, messages } = fieldsOf(body);
  if (messages !== undefined || input === undefined) return;
  throw written('input', '"input" is for Responses. Send "messages", or call /v1/responses.');
}

function isNested({ type, name, function: called }: Fields): boolean {
  return type === 'function' && name === undefined && typeof called === 'object';
}

function fieldsOf(value: unknown): Fields {
  return typeof value === 'object' && value !== null ? (value as Fields) : {};
}

function written(param: string, message: string): UsherError {
  return new UsherError('invalid_request', message, { param });
}
