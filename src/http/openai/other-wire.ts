import { UsherError } from '#base';

type Fields = Readonly<Record<string, unknown>>;

/** Of a caller's tools: those that the server would have to reach out for. */
const ownersTools = /^(?:web_search|mcp$)/;

/** @throws UsherError `invalid_request` where what is said, or a tool, is written as Chat Completions takes it, or is not to be had here */
export function refuseUnserved(body: unknown): void {
  const { input, messages, tools, prompt } = fieldsOf(body);
  if (prompt != null) {
    throw written('prompt', 'No prompts are stored here: an assistant has its instructions. Send "instructions".');
  }
  if (input === undefined && messages !== undefined) {
    throw written('messages', '"messages" is for Chat Completions. Send "input", or call /v1/chat/completions.');
  }
  const given = Array.isArray(tools) ? tools : [];
  const owners = given.findIndex((tool) => ownersTools.test(String(fieldsOf(tool)['type'])));
  if (owners !== -1) {
    throw written(
      `tools[${owners}].type`,
      `"tools[${owners}]" would be run by the server, which runs what the assistant's owner declares: MCP servers and HTTP requests, under "tools" of its assistant.yaml. Leave it out here.`,
    );
  }
  const nested = given.findIndex((tool) => isNested(fieldsOf(tool)));
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
