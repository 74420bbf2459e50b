import OpenAI from 'openai';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { startModelSimulator, type ModelSimulator } from '#test/model-simulator';
import { checkedClients } from '#test/checked-clients';
import { startUsher, type UsherProcess } from '#test/process';
import { accumulated, heard, isGapless, plain } from '#test/response-oracle';
import { usherFiles } from '#test/usher-files';

type InputItem = OpenAI.Responses.ResponseInputItem;

const model = 'helper';
const grammar = { definition: 'start: /row \\d/', syntax: 'lark' as const };
const note = { type: 'custom' as const, name: 'note', description: 'Writes a note.' };
const tools = [{ ...note, format: { type: 'grammar' as const, ...grammar } }];
const input = '[[sim:call note "row 7, please"]] [[sim:say Noted]]';
const user = { role: 'user' as const, content: input };

let simulator: ModelSimulator;
let usher: UsherProcess;
let client: OpenAI;
let plainClient: OpenAI;
const clientOf = checkedClients();

beforeAll(async () => {
  simulator = await startModelSimulator();
  usher = await startUsher(usherFiles([simulator.baseUrl], { assistants: { [model]: {} } }));
  const options = { baseURL: `${usher.url}/v1`, apiKey: usher.apiKey, maxRetries: 0 };
  plainClient = new OpenAI(options);
  client = clientOf(usher);
});
beforeEach(() => simulator.clear());
afterAll(async () => {
  await usher?.stop();
  await simulator?.stop();
});

async function asked(): Promise<{ messages: object[] } & Record<string, unknown>> {
  const { requests } = await simulator.log();
  return requests.at(-1)!.body as Awaited<ReturnType<typeof asked>>;
}

const wireCall = { type: 'custom', custom: { name: 'note', input: 'row 7, please' } };

describe('a custom tool of the caller', () => {
  test('is asked for with any text, told as it comes, stored, and heard again the same', async () => {
    const events = await heard(await client.responses.create({ model, input, tools, stream: true }));
    expect((await asked())['tools']).toEqual([
      { type: 'custom', custom: { name: 'note', description: 'Writes a note.', format: { type: 'grammar', grammar } } },
    ]);
    const types = events.map(({ type }) => type);
    expect(types.filter((type, index) => type !== types[index - 1])).toEqual([
      'response.created',
      'response.in_progress',
      'response.output_item.added',
      'response.custom_tool_call_input.delta',
      'response.custom_tool_call_input.done',
      'response.output_item.done',
      'response.completed',
    ]);
    expect(isGapless(events, 0)).toBe(true);
    const final = await accumulated(events);
    expect(final.output).toMatchObject([{ type: 'custom_tool_call', name: 'note', input: 'row 7, please' }]);
    expect(final.tools).toEqual(tools);
    expect(final).toEqual(plain(await client.responses.retrieve(final.id)));
    const again = await heard(await client.responses.retrieve(final.id, { stream: true, starting_after: 3 }));
    expect(again).toEqual(events.slice(4));
  });

  test('gives its output by previous_response_id, or with all that was said', async () => {
    const first = await client.responses.create({ model, input, tools });
    const call = first.output.find((item) => item.type === 'custom_tool_call')!;
    const output = { type: 'custom_tool_call_output' as const, call_id: call.call_id, output: 'written' };
    const wanted = [
      { role: 'user' },
      { role: 'assistant', tool_calls: [wireCall] },
      { role: 'tool', content: 'written' },
    ];
    const next = await client.responses.create({ model, tools, previous_response_id: first.id, input: [output] });
    expect(next.output_text).toBe('Noted');
    expect((await asked()).messages.slice(1)).toMatchObject(wanted);
    const { data } = await client.responses.inputItems.list(next.id);
    expect(data).toMatchObject([output]);
    await client.responses.create({ model, tools, input: [user, ...(first.output as InputItem[]), output] });
    expect((await asked()).messages.slice(1)).toMatchObject(wanted);
  });

  test('may be forced, and stands beside functions', async () => {
    const seats = { type: 'function' as const, name: 'seats', parameters: {}, strict: false };
    const choice = { type: 'custom' as const, name: 'note' };
    const made = await client.responses.create({ model, input: 'Hi', tools: [seats, note], tool_choice: choice });
    expect((await asked())['tool_choice']).toEqual({ type: 'custom', custom: { name: 'note' } });
    expect(made.output).toMatchObject([{ type: 'custom_tool_call', name: 'note' }]);
    const both = '[[sim:call note "x {"]] [[sim:call seats {"row":7}]]';
    const { output } = await client.responses.create({ model, input: both, tools: [seats, note] });
    expect(output).toMatchObject([
      { type: 'custom_tool_call', input: 'x {' },
      { type: 'function_call', arguments: '{"row":7}' },
    ]);
  });

  test('on Chat Completions, whole and in chunks', async () => {
    const chatTools = [
      { type: 'custom' as const, custom: { name: 'note', format: { type: 'grammar' as const, grammar } } },
    ];
    const body = { model, messages: [user], tools: chatTools };
    const { message, finish_reason: finish } = (await client.chat.completions.create(body)).choices[0]!;
    expect((await asked())['tools']).toEqual(chatTools);
    expect([finish, message.tool_calls]).toMatchObject(['tool_calls', [wireCall]]);
    const result = { role: 'tool' as const, tool_call_id: message.tool_calls![0]!.id, content: 'written' };
    const next = await client.chat.completions.create({ ...body, messages: [user, message, result] });
    expect(next.choices[0]?.message.content).toBe('Noted');
    expect((await asked()).messages[2]).toMatchObject({ role: 'assistant', tool_calls: [wireCall] });
    // The description of chunks knows calls of functions alone.
    let text = '';
    for await (const { choices } of await plainClient.chat.completions.create({ ...body, stream: true })) {
      for (const call of choices[0]?.delta.tool_calls ?? []) {
        text += (call as unknown as { custom: { input: string } }).custom.input;
      }
    }
    expect(text).toBe('row 7, please');
    const forced = { type: 'custom' as const, custom: { name: 'note' } };
    await client.chat.completions.create({
      model,
      messages: [{ role: 'user', content: 'Hi' }],
      tools: chatTools,
      tool_choice: forced,
    });
    expect((await asked())['tool_choice']).toEqual(forced);
  });
});
