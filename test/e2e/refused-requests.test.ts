import { DatabaseSync } from 'node:sqlite';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startModelSimulator, type ModelSimulator } from '#test/model-simulator';
import { startUsher, type UsherProcess } from '#test/process';
import { usherFiles } from '#test/usher-files';

let simulator: ModelSimulator;
let usher: UsherProcess;
let before: Readonly<Record<string, number>>;

beforeAll(async () => {
  simulator = await startModelSimulator();
  const { config, files } = usherFiles([simulator.baseUrl], {
    assistants: { guide: {} },
    config: { limits: { bodyBytes: 100_000 } },
  });
  usher = await startUsher({ config, files });
  before = rows();
});
afterAll(async () => {
  await usher?.stop();
  await simulator?.stop();
});

interface Refused {
  readonly status: number;
  readonly error: {
    readonly type: string;
    readonly code: string;
    readonly param: string | null;
    readonly message: string;
  };
}

async function send(
  target: string,
  body: string | object | undefined,
  headers: Readonly<Record<string, string>> = {},
): Promise<Refused> {
  const [method, path] = target.split(' ') as [string, string];
  const text = typeof body === 'object' ? JSON.stringify(body) : body;
  const answer = await fetch(usher.url + path, {
    method,
    headers: { authorization: `Bearer ${usher.apiKey}`, 'content-type': 'application/json', ...headers },
    ...(text === undefined ? {} : { body: text }),
  });
  return { ...((await answer.json()) as Pick<Refused, 'error'>), status: answer.status };
}

const chats = 'POST /v1/chat/completions';
const responses = 'POST /v1/responses';
const conversations = 'POST /v1/conversations';
const said = [{ role: 'user', content: 'Where is row seven?' }];
const chat = (change: object): object => ({ model: 'guide', messages: said, store: true, ...change });
const response = (change: object): object => ({ model: 'guide', input: 'Where is row seven?', ...change });
const nobody = '0'.repeat(32);

interface Case {
  readonly to: string;
  readonly body?: string | object;
  readonly headers?: Readonly<Record<string, string>>;
  readonly status?: number;
  readonly type?: string;
  readonly code?: string;
  readonly param?: string;
  readonly says: string;
}

const cases: Readonly<Record<string, Case>> = {
  'no messages': { to: chats, body: { model: 'guide' }, param: 'messages', says: '"messages" must be given: a list.' },
  'an empty list of messages': {
    to: chats,
    body: chat({ messages: [] }),
    param: 'messages',
    says: '"messages" must have at least 1 entry.',
  },
  'text for messages': {
    to: chats,
    body: chat({ messages: 'hello' }),
    param: 'messages',
    says: '"messages" must be a list, not a string.',
  },
  'a role that there is not': {
    to: chats,
    body: chat({ messages: [{ role: 'robot', content: 'x' }] }),
    param: 'messages[0].role',
    says: '"messages[0].role" must be "system", "developer", "user", "assistant", "function" or "tool".',
  },
  'a role in other letters': {
    to: responses,
    body: response({ input: [{ role: 'usr', content: 'x' }] }),
    param: 'input[0].role',
    says: '"input[0].role" must be "user", "assistant", "system" or "developer"; did you mean "user"?',
  },
  'a message without content': {
    to: chats,
    body: chat({ messages: [{ role: 'user' }] }),
    param: 'messages[0].content',
    says: '"messages[0].content" must be given: a string or a list.',
  },
  'a number for content': {
    to: chats,
    body: chat({ messages: [...said, { role: 'user', content: 7 }] }),
    param: 'messages[1].content',
    says: '"messages[1].content" must be a string or a list.',
  },
  'a part of a type that there is not': {
    to: chats,
    body: chat({ messages: [{ role: 'user', content: [{ type: 'sound', data: '' }] }] }),
    param: 'messages[0].content[0].type',
    says: '"messages[0].content[0].type" must be "text", "refusal", "file" or "image_url".',
  },
  'a part of the other wire': {
    to: responses,
    body: response({ input: [{ role: 'user', content: [{ type: 'text', text: 'x' }] }] }),
    param: 'input[0].content[0].type',
    says: '"input[0].content[0].type" must be "input_text", "input_file", "input_image", "output_text" or "refusal".',
  },
  'an image from a place that is none': {
    to: chats,
    body: chat({
      messages: [{ role: 'user', content: [{ type: 'image_url', image_url: { url: 'file:///etc/passwd' } }] }],
    }),
    param: 'messages[0].content[0].image_url.url',
    says: '"messages[0].content[0].image_url.url" must be an http(s) address, or a data URL of an image.',
  },
  'an image by an id': {
    to: responses,
    body: response({
      input: [
        { role: 'user', content: 'x' },
        { role: 'user', content: [{ type: 'input_image', image_url: null, file_id: 'file-1' }] },
      ],
    }),
    param: 'input[1].content[0].file_id',
    says: 'Files are not stored here by id. Send the image as a data URL in "image_url".',
  },
  'an image that is none': {
    to: responses,
    body: response({
      input: [
        { type: 'function_call', call_id: 'c', name: 'f', arguments: '{}' },
        { type: 'function_call_output', call_id: 'c', output: [{ type: 'input_image', image_url: null }] },
      ],
    }),
    param: 'input[1].output[0].image_url',
    says: '"input[1].output[0].image_url" must be given: a string.',
  },
  'an image of the assistant': {
    to: chats,
    body: chat({
      messages: [
        ...said,
        { role: 'assistant', content: [{ type: 'image_url', image_url: { url: 'data:image/png;base64,AAAA' } }] },
      ],
    }),
    param: 'messages[1].content[0].image_url',
    says: 'A message of the role assistant cannot hold an image. Send it as the user.',
  },
  'an image as the result of a tool, in chat': {
    to: chats,
    body: chat({
      messages: [
        ...said,
        { role: 'assistant', tool_calls: [{ id: 'c', type: 'function', function: { name: 'f', arguments: '{}' } }] },
        {
          role: 'tool',
          tool_call_id: 'c',
          content: [{ type: 'image_url', image_url: { url: 'data:image/png;base64,AAAA' } }],
        },
      ],
    }),
    param: 'messages[2].content[0].type',
    says: '"messages[2].content[0].type" must be "text".',
  },
  'a file that is no file, in chat': {
    to: chats,
    body: chat({ messages: [{ role: 'user', content: [{ type: 'file', file: { file_id: 'file-1' } }] }] }),
    param: 'messages[0].content[0].file.file_id',
    says: 'Files are not stored here by id. Send the file as "file_data".',
  },
  'a tool result that names no call': {
    to: chats,
    body: chat({ messages: [...said, { role: 'tool', content: 'x' }] }),
    param: 'messages[1].tool_call_id',
    says: '"messages[1].tool_call_id" must be given: a string.',
  },
  'an item of a type that there is not': {
    to: responses,
    body: response({ input: [{ type: 'computer_call', id: 'x' }] }),
    param: 'input[0].type',
    says: '"input[0].type" must be "message", "function_call", "function_call_output", "custom_tool_call", "custom_tool_call_output", "mcp_call", "file_search_call", "mcp_approval_request", "mcp_approval_response", "reasoning", "compaction" or "item_reference".',
  },
  'a number for input': {
    to: responses,
    body: response({ input: 7 }),
    param: 'input',
    says: '"input" must be a string or a list.',
  },
  'no input': {
    to: responses,
    body: { model: 'guide' },
    param: 'input',
    says: '"input" must be given: a string or a list.',
  },
  'an empty list for input': {
    to: responses,
    body: response({ input: [] }),
    param: 'input',
    says: 'Nothing was said. Send at least one message.',
  },
  'no model': { to: chats, body: { messages: said }, param: 'model', says: '"model" must be given: a string.' },
  'an empty name of a model': {
    to: chats,
    body: chat({ model: '' }),
    param: 'model',
    says: '"model" must have at least 1 character.',
  },
  'a number for a model': {
    to: responses,
    body: response({ model: 7 }),
    param: 'model',
    says: '"model" must be a string, not a whole number.',
  },
  'a model that there is not': {
    to: chats,
    body: chat({ model: 'giude' }),
    status: 404,
    code: 'model_not_found',
    param: 'model',
    says: 'There is no assistant "giude". Did you mean "guide"?',
  },
  'a model that there is not, asked for a stream': {
    to: chats,
    body: chat({ model: 'giude', stream: true }),
    status: 404,
    code: 'model_not_found',
    param: 'model',
    says: 'There is no assistant "giude". Did you mean "guide"?',
  },
  'an environment that there is not': {
    to: chats,
    body: chat({ model: 'guide@prodution' }),
    status: 404,
    code: 'model_not_found',
    param: 'model',
    says: 'The assistant "guide" has no environment "prodution", and no release is named so. Did you mean "production"?',
  },
  'a digest that there is not': {
    to: chats,
    body: chat({ model: `guide@${'0'.repeat(12)}` }),
    status: 404,
    code: 'model_not_found',
    param: 'model',
    says: 'The assistant "guide" has no release sha256:000000000000. Leave the digest out to talk with the current one.',
  },
  'a digest that is none': {
    to: chats,
    body: chat({ model: 'guide@sha256:xyz' }),
    status: 404,
    code: 'model_not_found',
    param: 'model',
    says: 'The assistant "guide" has no environment "sha256:xyz", and no release is named so. Environments: production.',
  },
  'two choices, to be kept': {
    to: chats,
    body: chat({ n: 2, store: true }),
    param: 'n',
    says: 'More than one choice is not stored. Leave "store" out.',
  },
  'log probabilities': {
    to: chats,
    body: chat({ logprobs: 'all' }),
    param: 'logprobs',
    says: '"logprobs" must be true or false, not a string.',
  },
  'a temperature above the highest': {
    to: chats,
    body: chat({ temperature: 3 }),
    param: 'temperature',
    says: '"temperature" must be at most 2.',
  },
  'text for a temperature': {
    to: chats,
    body: chat({ temperature: '1' }),
    param: 'temperature',
    says: '"temperature" must be a number, not a string.',
  },
  'no tokens at all': {
    to: chats,
    body: chat({ max_tokens: 0 }),
    param: 'max_tokens',
    says: '"max_tokens" must be at least 1.',
  },
  'half a token': {
    to: responses,
    body: response({ max_output_tokens: 1.5 }),
    param: 'max_output_tokens',
    says: '"max_output_tokens" must be a whole number, not a fraction.',
  },
  'five stops': {
    to: chats,
    body: chat({ stop: ['a', 'b', 'c', 'd', 'e'] }),
    param: 'stop',
    says: '"stop" must have at most 4 entries.',
  },
  'text for stream': {
    to: chats,
    body: chat({ stream: 'yes' }),
    param: 'stream',
    says: '"stream" must be true or false, not a string.',
  },
  'in the background, and not kept': {
    to: responses,
    body: response({ background: true, store: false }),
    param: 'store',
    says: 'A background response must be stored. Leave "store" out, or set it true.',
  },
  'a tool of a type that there is not': {
    to: responses,
    body: response({ tools: [{ type: 'code_interpreter' }] }),
    param: 'tools[0].type',
    says: '"tools[0].type" must be "function", "custom" or "file_search".',
  },
  'a tool that the owner would have to declare': {
    to: responses,
    body: response({ tools: [{ type: 'file_search' }, { type: 'mcp', server_label: 'x', server_url: 'https://x' }] }),
    param: 'tools[1].type',
    says: '"tools[1]" would be run by the server, which runs what the assistant\'s owner declares: MCP servers and HTTP requests, under "tools" of its assistant.yaml. Leave it out here.',
  },
  'a result of no call': {
    to: responses,
    body: response({
      store: false,
      input: [...said, { type: 'function_call_output', call_id: 'call_1', output: 'x' }],
    }),
    param: 'input',
    says: 'There is a result of the call "call_1", and no such call before it that the context holds. Send the call too, or follow the response that made it.',
  },
  'a result of no call, in chat': {
    to: chats,
    body: chat({ store: false, messages: [...said, { role: 'tool', tool_call_id: 'call_1', content: 'x' }] }),
    param: 'messages',
    says: 'There is a result of the call "call_1", and no such call before it that the context holds. Send the call too, or follow the response that made it.',
  },
  'a prompt that is stored elsewhere': {
    to: responses,
    body: response({ prompt: { id: 'pmpt_1', variables: {} } }),
    param: 'prompt',
    says: 'No prompts are stored here: an assistant has its instructions. Send "instructions".',
  },
  'a search of the web': {
    to: responses,
    body: response({ tools: [{ type: 'web_search_preview' }] }),
    param: 'tools[0].type',
    says: '"tools[0]" would be run by the server, which runs what the assistant\'s owner declares: MCP servers and HTTP requests, under "tools" of its assistant.yaml. Leave it out here.',
  },
  'a function to choose that is not among the tools': {
    to: responses,
    body: response({ tools: [{ type: 'function', name: 'seats' }], tool_choice: { type: 'function', name: 'rows' } }),
    param: 'tool_choice',
    says: '"tool_choice" names "rows", and no such tool was given. Give it, or name another.',
  },
  'a function to choose that is a custom tool': {
    to: responses,
    body: response({ tools: [{ type: 'custom', name: 'seats' }], tool_choice: { type: 'function', name: 'seats' } }),
    param: 'tool_choice',
    says: '"tool_choice" names "seats", and no such tool was given. Give it, or name another.',
  },
  'a search to choose that the model may not make': {
    to: responses,
    body: response({ tool_choice: { type: 'file_search' } }),
    param: 'tool_choice',
    says: '"tool_choice" names "file_search", and no such tool was given. Give it, or name another.',
  },
  'a function to choose where there are no tools, in chat': {
    to: chats,
    body: chat({ tool_choice: { type: 'function', function: { name: 'seats' } } }),
    param: 'tool_choice',
    says: '"tool_choice" names "seats", and no such tool was given. Give it, or name another.',
  },
  'a function to call by its older name that is not among them': {
    to: chats,
    body: chat({ functions: [{ name: 'seats' }], function_call: { name: 'rows' } }),
    param: 'function_call',
    says: '"function_call" names "rows", and no such tool was given. Give it, or name another.',
  },
  'a tool of a type that there is not, in chat': {
    to: chats,
    body: chat({ tools: [{ type: 'web_search' }] }),
    param: 'tools[0].type',
    says: '"tools[0].type" must be "function" or "custom".',
  },
  'a tool with a name that cannot be': {
    to: responses,
    body: response({ tools: [{ type: 'function', name: 'a b' }] }),
    param: 'tools[0].name',
    says: '"tools[0].name" must be 1 to 64 letters, digits, dashes or underscores.',
  },
  'a choice of tools that there is not': {
    to: responses,
    body: response({ tool_choice: 'always' }),
    param: 'tool_choice',
    says: '"tool_choice" must be "auto", "none", "required" or an object.',
  },
  'a tool to choose of a type that there is not': {
    to: responses,
    body: response({ tool_choice: { type: 'web_search' } }),
    param: 'tool_choice.type',
    says: '"tool_choice.type" must be "function", "custom", "file_search" or "allowed_tools".',
  },
  'more than the context holds, on Chat Completions': {
    to: chats,
    body: { model: 'guide', messages: [{ role: 'user', content: 'word '.repeat(15_000) }] },
    code: 'context_length_exceeded',
    param: 'messages',
    says: "The message is too long for this assistant's context of 8000 tokens. Send a shorter one.",
  },
  'a format that there is not': {
    to: chats,
    body: chat({ response_format: { type: 'xml' } }),
    param: 'response_format.type',
    says: '"response_format.type" must be "text", "json_object" or "json_schema".',
  },
  'a format without its schema': {
    to: responses,
    body: response({ text: { format: { type: 'json_schema', name: 'x' } } }),
    param: 'text.format.schema',
    says: '"text.format.schema" must be given: an object.',
  },
  'metadata of seventeen keys': {
    to: responses,
    body: response({ metadata: Object.fromEntries(Array.from({ length: 17 }, (_, at) => [`k${at}`, 'v'])) }),
    param: 'metadata',
    says: '"metadata" must have at most 16 keys.',
  },
  'a key of metadata that is too long': {
    to: responses,
    body: response({ metadata: { ['k'.repeat(65)]: 'v' } }),
    param: `metadata.${'k'.repeat(65)}`,
    says: '"metadata.kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk…" must have at most 64 characters.',
  },
  'a value of metadata that is too long': {
    to: responses,
    body: response({ metadata: { a: 'v'.repeat(513) } }),
    param: 'metadata.a',
    says: '"metadata.a" must have at most 512 characters.',
  },
  'a value of metadata that is no text': {
    to: conversations,
    body: { metadata: { a: 1 } },
    param: 'metadata.a',
    says: '"metadata.a" must be a string, not a whole number.',
  },
  'a list for metadata': {
    to: conversations,
    body: { metadata: [] },
    param: 'metadata',
    says: '"metadata" must be an object, not a list.',
  },
  'a name of a person that is too long': {
    to: responses,
    body: response({ safety_identifier: 'x'.repeat(65) }),
    param: 'safety_identifier',
    says: '"safety_identifier" must have at most 64 characters.',
  },
  'a call of a tool where there is none': {
    to: responses,
    body: response({ tool_choice: 'required' }),
    param: 'tool_choice',
    says: '"tool_choice" is "required", and there are no tools. Give some.',
  },
  'a response that nobody has': {
    to: responses,
    body: response({ previous_response_id: `resp_${nobody}` }),
    code: 'previous_response_not_found',
    param: 'previous_response_id',
    says: 'There is no such earlier response. Send what was said before as input.',
  },
  'an id that is none of a response': {
    to: responses,
    body: response({ previous_response_id: 'resp_1' }),
    code: 'previous_response_not_found',
    param: 'previous_response_id',
    says: 'There is no such earlier response. Send what was said before as input.',
  },
  'a conversation that nobody has': {
    to: responses,
    body: response({ conversation: `conv_${nobody}` }),
    status: 404,
    param: 'conversation',
    says: 'There is no such conversation.',
  },
  'a conversation without its id': {
    to: responses,
    body: response({ conversation: {} }),
    param: 'conversation.id',
    says: '"conversation.id" must be given: a string.',
  },
  'both a conversation and a response to follow': {
    to: responses,
    body: response({ conversation: `conv_${nobody}`, previous_response_id: `resp_${nobody}` }),
    param: 'previous_response_id',
    says: 'Send "conversation" or "previous_response_id", not both.',
  },
  'more items than may be added at once': {
    to: conversations,
    body: { items: Array.from({ length: 21 }, () => ({ role: 'user', content: 'x' })) },
    param: 'items',
    says: '"items" must have at most 20 entries.',
  },
  'items for a conversation that nobody has': {
    to: `${conversations}/conv_${nobody}/items`,
    body: { items: said },
    status: 404,
    says: 'There is no such conversation.',
  },
  'a page of none': {
    to: `GET /v1/conversations/conv_${nobody}/items?limit=0`,
    param: 'limit',
    says: '"limit" must be at least 1.',
  },
  'a page of something that is no number': {
    to: `GET /v1/conversations/conv_${nobody}/items?limit=abc`,
    param: 'limit',
    says: '"limit" must be a number.',
  },
  'a page of a size that is left open': {
    to: `GET /v1/conversations/conv_${nobody}/items?limit=`,
    param: 'limit',
    says: '"limit" has no value. Give it one, or leave it out.',
  },
  'events after nothing': {
    to: `GET /v1/responses/resp_${nobody}?stream=true&starting_after=`,
    param: 'starting_after',
    says: '"starting_after" has no value. Give it one, or leave it out.',
  },
  'an order that there is not': {
    to: `GET /v1/conversations/conv_${nobody}/items?order=up`,
    param: 'order',
    says: '"order" must be "asc" or "desc".',
  },
  'a stored response after an event, without its events': {
    to: `GET /v1/responses/resp_${nobody}?starting_after=3`,
    param: 'starting_after',
    says: '"starting_after" needs "stream=true".',
  },
  'a token for nobody': {
    to: 'POST /v1/user_tokens',
    body: { assistant: 'guide' },
    param: 'subject',
    says: '"subject" must be given: a string.',
  },
  'a body that is a list': { to: chats, body: '[]', says: 'The body must be an object, not a list.' },
  'a body that is text': { to: chats, body: '"hello"', says: 'The body must be an object, not a string.' },
  'no body': { to: responses, param: 'model', says: '"model" must be given: a string.' },
  'JSON that is cut short': {
    to: chats,
    body: '{"model": "guide", "messages": [',
    says: 'The body is not valid JSON; check its commas, quotes and brackets.',
  },
  'JSON that nests too deep': {
    to: chats,
    body: `{"a":${'['.repeat(80)}${']'.repeat(80)}}`,
    says: 'The body is nested deeper than 64 levels; flatten it.',
  },
  'a key that would reach the prototype': {
    to: chats,
    body: '{"__proto__": {"store": true}}',
    param: '__proto__',
    says: 'The key `__proto__` is not accepted; name it otherwise.',
  },
  'a body that is too large': {
    to: chats,
    body: chat({ messages: [{ role: 'user', content: 'x'.repeat(100_000) }] }),
    status: 413,
    code: 'too_large',
    says: 'The body is larger than the 100000 bytes that are accepted.',
  },
  'a form': {
    to: chats,
    body: 'model=guide',
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    status: 415,
    code: 'unsupported_media_type',
    says: 'Send the body as JSON with `Content-Type: application/json`.',
  },
  'a compressed body': {
    to: chats,
    body: '{}',
    headers: { 'content-encoding': 'gzip' },
    status: 415,
    code: 'unsupported_media_type',
    says: 'Compressed bodies are not accepted; send it as plain JSON.',
  },
  'no key': {
    to: chats,
    body: chat({}),
    headers: { authorization: '' },
    status: 401,
    type: 'authentication_error',
    code: 'invalid_api_key',
    says: 'The Authorization header must read: Bearer, a space, and the key.',
  },
  'a key of another service': {
    to: chats,
    body: chat({}),
    headers: { authorization: 'Bearer sk-proj-abcdefghijklmnop' },
    status: 401,
    type: 'authentication_error',
    code: 'invalid_api_key',
    says: 'The API key is not whole: copy it once more, from "usher_" to its last character.',
  },
  'an embedding model where there is none': {
    to: 'POST /v1/embeddings',
    body: { model: 'text-embedding-3-small', input: 'Where is row seven?' },
    status: 404,
    code: 'model_not_found',
    param: 'model',
    says: 'There is no embedding model "text-embedding-3-small". There are none here: the owner declares them under embeddings in usher.yaml.',
  },
  'another method': {
    to: 'DELETE /v1/responses',
    status: 405,
    code: 'method_not_allowed',
    says: 'Use one of OPTIONS, POST here.',
  },
  'a path that there is not': {
    to: 'POST /v1/images/generations',
    body: {},
    status: 404,
    says: 'There is nothing at this path. Usher does not serve it.',
  },
  'a path beside the API': {
    to: 'GET /responses',
    status: 404,
    says: 'There is nothing at this path. The API begins at /v1.',
  },
  'messages where input is taken': {
    to: responses,
    body: { model: 'guide', messages: said },
    param: 'messages',
    says: '"messages" is for Chat Completions. Send "input", or call /v1/chat/completions.',
  },
  'input where messages are taken': {
    to: chats,
    body: { model: 'guide', input: 'Hello' },
    param: 'input',
    says: '"input" is for Responses. Send "messages", or call /v1/responses.',
  },
  'a function as the other wire has it': {
    to: responses,
    body: response({ tools: [{ type: 'function', function: { name: 'seats' } }] }),
    param: 'tools[0]',
    says: '"tools[0]" is written as Chat Completions takes it. Here "name", "description" and "parameters" stand beside "type".',
  },
};

/** Every row that could tell of a request. */
function rows(): Record<string, number> {
  const db = new DatabaseSync(join(usher.dataDir, 'usher.db'), { readOnly: true });
  try {
    const count = (table: string): number =>
      (db.prepare(`select count(*) as n from ${table}`).get() as { n: number }).n;
    return Object.fromEntries(
      ['turns', 'unstored_turns', 'conversations', 'items', 'feedback', 'subject_keys'].map((table) => [
        table,
        count(table),
      ]),
    );
  } finally {
    db.close();
  }
}

describe('is refused, with what to mend', () => {
  test.each(Object.entries(cases))('%s', async (_name, { to, body, headers, ...expected }) => {
    const { status = 400, type = 'invalid_request_error', param = null, says } = expected;
    const { code = status === 404 ? 'not_found' : 'invalid_request' } = expected;
    expect(await send(to, body, headers)).toEqual({ status, error: { type, code, param, message: says } });
  });
});

test('nothing of it was stored, billed, or shown to a model', async () => {
  expect((await simulator.log()).totals.requests).toBe(0);
  expect(rows()).toEqual(before);
  // The same look does see a request that is served.
  const answered = await send(responses, response({}));
  expect(answered.status).toBe(200);
  expect((await simulator.log()).totals.requests).toBe(1);
  const after = rows();
  expect(after).toMatchObject({ turns: 1, items: 2, subject_keys: 1 });
  // What is written behind the answers is on the disk after a stop.
  await usher.kill('SIGTERM');
  expect(rows()).toEqual(after);
});
