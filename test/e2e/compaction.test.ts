import { randomBytes } from 'node:crypto';
import OpenAI from 'openai';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { startModelSimulator, type ModelSimulator } from '#test/model-simulator';
import { startPostgres } from '#test/postgres';
import { startUsher, type UsherProcess } from '#test/process';
import { accumulated, heard, isGapless, plain } from '#test/response-oracle';
import { usherFiles } from '#test/usher-files';

let simulator: ModelSimulator;
let usher: UsherProcess;
let client: OpenAI;

const budgetTokens = 1500;
const compacting = { context: { budgetTokens, whenFull: 'compact', compactAt: 0.6 } };
const assistants = {
  keeper: { spec: compacting },
  plain: { spec: { context: { budgetTokens } } },
  small: { spec: { context: { budgetTokens: 500 } } },
};

beforeAll(async () => {
  simulator = await startModelSimulator();
  usher = await startUsher(usherFiles([simulator.baseUrl], { assistants }));
  client = new OpenAI({ baseURL: `${usher.url}/v1`, apiKey: usher.apiKey, maxRetries: 0 });
});
beforeEach(() => simulator.clear());
afterAll(async () => {
  await usher?.stop();
  await simulator?.stop();
});

interface Prompt {
  readonly messages: readonly { readonly role: string; readonly content: string }[];
  readonly max_tokens?: number;
  readonly max_completion_tokens?: number;
}

/** What a caller asks who sends the history each time. */
const ask = { context_management: [{ type: 'compaction' }] };

const isSummary = ({ messages }: Prompt): boolean => messages[0]?.content.includes('memory of an assistant') === true;

/** What models were asked since `from`, in order. */
async function promptsSince(from: number): Promise<Prompt[]> {
  return (await simulator.log()).requests.filter(({ id }) => id > from).map(({ body }) => body as Prompt);
}

async function asked(): Promise<number> {
  return (await simulator.log()).totals.requests;
}

const filler = (name: string): string => `${name}: ${'the guest would like a seat near the aisle. '.repeat(12)}`;

/** Says so much that the next message makes the model's context overflow its threshold. */
async function talk(model: string, conversation: string, exchanges: number): Promise<void> {
  for (let nth = 0; nth < exchanges; nth += 1) {
    await client.responses.create({ model, conversation, input: filler(`Exchange ${nth}`) });
  }
}

const compactionOf = (response: OpenAI.Responses.Response): OpenAI.Responses.ResponseCompactionItem => {
  const [item] = response.output;
  if (item?.type !== 'compaction') throw new Error('the answer holds no compaction');
  return item;
};

/** What a caller who keeps the conversation itself has of one that is due to be compacted. */
const longInput = (): OpenAI.Responses.ResponseInputItem[] =>
  Array.from({ length: 8 }, (_, nth) => ({
    role: nth % 2 === 0 ? ('user' as const) : ('assistant' as const),
    content: filler(`Part ${nth}`),
  }));

describe('a conversation that outgrows its context', () => {
  test('is compacted once, told as an item, and the turns that follow share their beginning', async () => {
    const { id: conversation } = await client.conversations.create();
    await simulator.planAll({ say: 'Aisle seat in row seven is noted.' });
    await talk('keeper', conversation, 5);
    const from = await asked();
    await simulator.clear();
    await simulator.plan({ say: 'Summary: the guest wants the aisle.' });
    const events = await heard(
      await client.responses.create({ model: 'keeper', conversation, input: filler('Last'), stream: true }),
    );
    expect(isGapless(events, 0)).toBe(true);
    const made = await accumulated(events);
    expect(made.output.map(({ type }) => type)).toEqual(['compaction', 'message']);
    expect(made).toEqual(plain(await client.responses.retrieve(made.id)));
    const again = await heard(await client.responses.retrieve(made.id, { stream: true }));
    expect(again).toEqual(events);

    await client.responses.create({ model: 'keeper', conversation, input: 'And the next?' });
    await client.responses.create({ model: 'keeper', conversation, input: 'And then?' });
    const prompts = await promptsSince(from);
    expect(prompts.map(isSummary)).toEqual([true, false, false, false]);
    const [, first, second, third] = prompts;
    expect(first!.messages[1]!.content).toContain('Summary: the guest wants the aisle.');
    expect(first!.messages.at(-1)!.content).toBe(filler('Last'));
    expect(JSON.stringify(first)).not.toContain('Exchange 0');
    expect(JSON.stringify(first)).toContain('Exchange 4');
    expect(second!.messages.slice(0, first!.messages.length)).toEqual(first!.messages);
    expect(third!.messages.slice(0, second!.messages.length)).toEqual(second!.messages);
    const items = await client.conversations.items.list(conversation, { order: 'asc', limit: 100 });
    expect(items.data.filter(({ type }) => type === 'compaction')).toHaveLength(1);
  });

  test('is compacted as a chain of responses too, and again only when it has grown as much once more', async () => {
    await simulator.planAll({ say: 'Noted in the book.' });
    const from = await asked();
    let previous: string | null = null;
    const compacted: number[] = [];
    for (let nth = 0; nth < 14; nth += 1) {
      const made: OpenAI.Responses.Response = await client.responses.create({
        model: 'keeper',
        input: filler(`Link ${nth}`),
        previous_response_id: previous,
      });
      if (made.output[0]?.type === 'compaction') compacted.push(nth);
      previous = made.id;
    }
    expect(compacted.length).toBeGreaterThan(1);
    expect(compacted.every((nth, index) => index === 0 || nth - compacted[index - 1]! > 1)).toBe(true);
    const summaries = (await promptsSince(from)).filter(isSummary);
    expect(summaries).toHaveLength(compacted.length);
    expect(summaries[1]!.messages[1]!.content).toContain('Earlier summary:\nNoted in the book.');
    expect(summaries[1]!.messages[1]!.content).not.toContain('Link 0');
  });

  test('counts what the summary cost, and goes on without one where no model makes it', async () => {
    await simulator.plan({ say: 'A summary.' });
    const body = { ...ask, model: 'keeper', input: [...longInput(), { role: 'user' as const, content: 'x' }] };
    const made = await client.responses.create(body);
    const journal = (await simulator.log()).requests.slice(-2);
    expect(made.usage?.input_tokens).toBe(journal.reduce((sum, { promptTokens }) => sum + promptTokens, 0));
    await simulator.plan({ fault: { kind: 'status', status: 400 } });
    const without = await client.responses.create(body);
    expect(without).toMatchObject({ status: 'completed', output: [{ type: 'message' }] });
    await expect.poll(() => usher.logs()).toContain('conversation not compacted');
    await simulator.plan({ fault: { kind: 'status', status: 400 } });
    const input = [...longInput(), ...longInput(), { role: 'user' as const, content: 'x' }];
    const whole = client.responses.create({ ...body, input, truncation: 'disabled' });
    await expect(whole).rejects.toMatchObject({ status: 400, code: 'context_length_exceeded' });
  });

  test('has its summary made anew where a model breaks off, unheard, under a bound of its own', async () => {
    const from = await asked();
    await simulator.plan({ tokens: 30, fault: { kind: 'cut', after: 5, how: 'reset' } });
    await simulator.plan({ say: 'She wants the aisle.' });
    await simulator.plan({ say: 'Row seven.' });
    const input = [...longInput(), { role: 'user' as const, content: 'x' }];
    const events = await heard(await client.responses.create({ ...ask, model: 'keeper', input, stream: true }));
    expect(events.filter(({ type }) => type === 'response.in_progress')).toHaveLength(1);
    expect((await accumulated(events)).output_text).toBe('Row seven.');
    const prompts = await promptsSince(from);
    expect(prompts.map(isSummary)).toEqual([true, true, false]);
    expect(prompts[2]!.messages[1]!.content).toContain('<summary>\nShe wants the aisle.\n</summary>');
    expect(prompts[0]!.max_tokens ?? prompts[0]!.max_completion_tokens).toBeLessThan(budgetTokens / 5);
    expect(prompts[2]!.max_tokens ?? prompts[2]!.max_completion_tokens).toBeUndefined();
  });

  test('keeps what the application told it once, word for word', async () => {
    const { id: conversation } = await client.conversations.create();
    await client.conversations.items.create(conversation, {
      items: [{ type: 'message', role: 'developer', content: 'Never speak of prices.' }],
    });
    await talk('keeper', conversation, 5);
    const made = await client.responses.create({ model: 'keeper', conversation, input: filler('Last') });
    compactionOf(made);
    await client.responses.create({ model: 'keeper', conversation, input: 'And now?' });
    const [prompt] = (await promptsSince(0)).slice(-1);
    expect(prompt!.messages[0]!.content).toContain('Never speak of prices.');
    // Whoever takes the compaction out gets the conversation back.
    await client.conversations.items.delete(compactionOf(made).id, { conversation_id: conversation });
    const { data } = await client.conversations.items.list(conversation, { limit: 100 });
    expect(data.some(({ type }) => type === 'compaction')).toBe(false);
  });

  test('is read from its items again where one was deleted that a compaction tells of', async () => {
    const { id: conversation } = await client.conversations.create();
    await simulator.planAll({ say: 'Aisle seat in row seven is noted.' });
    await talk('keeper', conversation, 5);
    const last = filler('Last');
    compactionOf(await client.responses.create({ model: 'keeper', conversation, input: last }));
    const { data } = await client.conversations.items.list(conversation, { order: 'asc', limit: 100 });
    const told = data.filter(({ type }) => type !== 'compaction');
    const asking = async (): Promise<string> => {
      await client.responses.create({ model: 'keeper', conversation, input: 'And now?' });
      const [prompt] = (await promptsSince(0)).slice(-1);
      return JSON.stringify(prompt!.messages);
    };
    expect(await asking()).toContain('<summary>');
    // All but what was said last, and its answer.
    for (const item of told.slice(0, -2)) {
      await client.conversations.items.delete(item.id!, { conversation_id: conversation });
    }
    const after = await asking();
    expect(after).not.toContain('<summary>');
    expect(after).not.toContain('Exchange');
    expect(after).toContain(last.slice(0, 40));
  });

  test('of a person at the page is compacted as the owner set; what they see again is what was said', async () => {
    const post = async (path: string, body: object, token?: string): Promise<Response> =>
      fetch(usher.url + path, {
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        },
        body: JSON.stringify(body),
      });
    const { token } = (await (await post('/chat/keeper/visit', {})).json()) as { token: string };
    const person = new OpenAI({ baseURL: `${usher.url}/v1`, apiKey: token, maxRetries: 0 });
    const { id: conversation } = await person.conversations.create();
    await simulator.planAll({ say: 'Aisle seat in row seven is noted.' });
    let made: OpenAI.Responses.Response | undefined;
    for (let nth = 0; nth < 6; nth += 1) {
      made = await person.responses.create({ model: 'keeper', conversation, input: filler(`Wish ${nth}`) });
    }
    expect(made?.output.map(({ type }) => type)).toEqual(['compaction', 'message']);
    const history = await fetch(`${usher.url}/chat/keeper/conversations/${conversation}`, {
      headers: { authorization: `Bearer ${token}` },
    });
    const { items } = (await history.json()) as { items: { type: string }[] };
    expect(items.map(({ type }) => type)).toEqual(Array.from({ length: 12 }, () => 'message'));
    const denied = person.responses.create({ ...ask, model: 'keeper', input: 'x' });
    await expect(denied).rejects.toMatchObject({ status: 403, param: 'context_management' });
  });

  test('is not compacted twice by a node that takes the turn over', { timeout: 60_000 }, async () => {
    await using lost = await startUsher(usherFiles([simulator.baseUrl], { assistants }));
    const talking = new OpenAI({ baseURL: `${lost.url}/v1`, apiKey: lost.apiKey, maxRetries: 0 });
    const from = await asked();
    await simulator.plan({ say: 'The summary.' });
    await simulator.plan({ fault: { kind: 'hang' } });
    const input = [...longInput(), { role: 'user' as const, content: 'Where do I sit?' }];
    const taken = await talking.responses.create({ ...ask, model: 'keeper', input, background: true });
    await simulator.until(({ totals }) => totals.requests === from + 2);
    await lost.kill();
    await simulator.control({ do: 'release' });
    await simulator.plan({ say: 'In row seven.' });
    await lost.restart();
    const state = async (): Promise<string | undefined> => (await talking.responses.retrieve(taken.id)).status;
    await expect.poll(state, { timeout: 30_000 }).toBe('completed');
    const made = await talking.responses.retrieve(taken.id);
    expect(made.output.map(({ type }) => type)).toEqual(['compaction', 'message']);
    expect(made.output_text).toBe('In row seven.');
    const prompts = await promptsSince(from);
    expect(prompts.map(isSummary)).toEqual([true, false, false]);
    expect(prompts[2]!.messages).toEqual(prompts[1]!.messages);
    expect(made.usage!.input_tokens).toBeGreaterThan((await simulator.log()).requests.at(-1)!.promptTokens);
    const events = await heard(await talking.responses.retrieve(taken.id, { stream: true }));
    expect(isGapless(events, 0)).toBe(true);
    expect(await accumulated(events)).toEqual(plain(made));
  });
});

describe('what becomes of history that does not fit is the caller’s to say', () => {
  const full = (): OpenAI.Responses.ResponseInputItem[] => [
    ...longInput(),
    ...longInput(),
    { role: 'user', content: '[[sim:say Hm]]' },
  ];

  test('truncation: the oldest is left out, or the request is refused', async () => {
    const { id: conversation } = await client.conversations.create();
    await talk('keeper', conversation, 5);
    const from = await asked();
    const auto = await client.responses.create({
      model: 'keeper',
      conversation,
      input: filler('x'),
      truncation: 'auto',
    });
    expect(auto).toMatchObject({ truncation: 'auto', output: [{ type: 'message' }] });
    expect(await promptsSince(from)).toHaveLength(1);
    for (const model of ['keeper', 'plain']) {
      const refused = client.responses.create({ model, input: full(), truncation: 'disabled' });
      await expect(refused).rejects.toMatchObject({ status: 400, code: 'context_length_exceeded' });
    }
    const fits = await client.responses.create({ model: 'plain', input: 'x', truncation: 'disabled' });
    expect(fits).toMatchObject({ status: 'completed', truncation: 'disabled' });
    expect(await client.responses.retrieve(fits.id)).toMatchObject({ truncation: 'disabled' });
  });

  test('context_management: compaction is asked for, with a threshold of one’s own', async () => {
    const management = [{ type: 'compaction', compact_threshold: 1000 }];
    const made = await client.responses.create({ model: 'plain', input: full(), context_management: management });
    compactionOf(made);
    const short = await client.responses.create({ model: 'plain', input: 'x', context_management: management });
    expect(short.output.map(({ type }) => type)).toEqual(['message']);
    const low = [{ type: 'compaction', compact_threshold: 999 }];
    const refused = client.responses.create({ model: 'plain', input: 'x', context_management: low });
    await expect(refused).rejects.toMatchObject({ status: 400, param: 'context_management[0].compact_threshold' });
  });

  test('who sends the whole history each time and asks for nothing has the oldest left out, whatever the owner set', async () => {
    const from = await asked();
    await client.responses.create({ model: 'keeper', input: full() });
    const messages = full() as OpenAI.ChatCompletionMessageParam[];
    await client.chat.completions.create({ model: 'keeper', messages });
    expect((await promptsSince(from)).map(isSummary)).toEqual([false, false]);
  });
});

describe('a caller who keeps the conversation itself', () => {
  const person = 'ophelia';

  async function compacted(): Promise<OpenAI.Responses.Response> {
    await simulator.plan({ say: 'She wants the aisle.' });
    await simulator.plan({ say: 'Row seven, then.' });
    const input = [...longInput(), { role: 'user' as const, content: 'Where do I sit?' }];
    return client.responses.create({ ...ask, model: 'keeper', input, store: false, safety_identifier: person });
  }

  test('may send what was answered from the compaction on, and nothing of it is lost', async () => {
    const made = await compacted();
    const input = [
      ...(made.output as OpenAI.Responses.ResponseInputItem[]),
      { role: 'user' as const, content: '[[sim:say Yes]]' },
    ];
    const body = { model: 'keeper', store: false, safety_identifier: person };
    expect((await client.responses.create({ ...body, input })).output_text).toBe('Yes');
    const prompts = await promptsSince(0);
    const [first, second] = prompts.slice(-2);
    expect(second!.messages.slice(0, first!.messages.length)).toEqual(first!.messages);
    expect(second!.messages.map(({ content }) => content).slice(-3)).toEqual([
      expect.stringMatching(/^<summary>[^]*Where do I sit\?$/u),
      'Row seven, then.',
      '[[sim:say Yes]]',
    ]);
    // All that was said before it may come along, and is not read.
    await client.responses.create({ ...body, input: [...longInput(), ...input] });
    expect((await promptsSince(0)).at(-1)!.messages).toEqual(second!.messages);
  });

  test('is refused a compaction that was invented, changed or made for another person', async () => {
    const { encrypted_content: sealed } = compactionOf(await compacted());
    const changed = `${sealed.slice(0, -8)}${sealed.at(-8) === 'A' ? 'B' : 'A'}${sealed.slice(-7)}`;
    const said = { role: 'user' as const, content: 'x' };
    const send = (content: string, whom: string) =>
      client.responses.create({
        model: 'keeper',
        input: [{ type: 'compaction', encrypted_content: content }, said],
        safety_identifier: whom,
      });
    expect(await send(sealed, person)).toMatchObject({ status: 'completed' });
    for (const [content, whom] of [
      ['bm90IG91cnM', person],
      ['%', person],
      [changed, person],
      [sealed, 'hamlet'],
    ] as const) {
      await expect(send(content, whom)).rejects.toMatchObject({
        status: 400,
        code: 'invalid_request',
        param: 'input',
        message: expect.stringContaining('not made here for this person') as string,
      });
    }
    const items = [{ type: 'compaction', encrypted_content: changed } as OpenAI.Responses.ResponseInputItem];
    await expect(client.conversations.create({ items })).rejects.toMatchObject({ status: 400, param: 'items' });
    const { id } = await client.conversations.create();
    await expect(client.conversations.items.create(id, { items })).rejects.toMatchObject({ status: 400 });
    const background = { model: 'keeper', input: items, background: true };
    await expect(client.responses.create(background)).rejects.toMatchObject({ status: 400 });
  });

  test('has a conversation compacted on demand, and goes on from what comes', async () => {
    await simulator.plan({ say: 'She wants the aisle.' });
    const whole = await client.responses.compact({ model: 'plain', input: longInput() });
    expect(whole).toMatchObject({ object: 'response.compaction', output: expect.any(Array) as unknown[] });
    expect(whole.output.map(({ type }) => type)).toEqual(['message', 'compaction']);
    expect(whole.usage.output_tokens).toBeGreaterThan(0);
    await expect(client.responses.retrieve(whole.id)).rejects.toMatchObject({ status: 404 });
    const input = [
      ...(whole.output as OpenAI.Responses.ResponseInputItem[]),
      { role: 'user' as const, content: 'So?' },
    ];
    await client.responses.create({ model: 'plain', input, store: false });
    const prompt = (await promptsSince(0)).at(-1)!;
    expect(prompt.messages[1]!.content).toContain('She wants the aisle.');
    expect(prompt.messages.map(({ content }) => content)).toContain(filler('Part 7'));
    expect(JSON.stringify(prompt)).not.toContain('Part 0');
  });

  test('has what a stored response ended compacted, and is told where nothing was said or no model answers', async () => {
    const { id } = await client.responses.create({ model: 'plain', input: 'My name is Ophelia.' });
    const from = await asked();
    const short = await client.responses.compact({ model: 'plain', previous_response_id: id });
    expect(short.output.at(-1)?.type).toBe('compaction');
    const [prompt] = await promptsSince(from);
    expect(prompt!.messages[1]!.content).toContain('My name is Ophelia.');
    const long = await client.responses.compact({ model: 'plain', input: 'Row seven. '.repeat(2000) });
    expect(long.output.map(({ type }) => type)).toEqual(['compaction']);
    // More than one context holds is summarised part by part.
    const before = await asked();
    await simulator.planAll({ say: 'She wants the aisle.' });
    const much = Array.from({ length: 20 }, (_, nth) => ({ role: 'user' as const, content: filler(`Wish ${nth}`) }));
    await client.responses.compact({ model: 'plain', input: much });
    const parts = await promptsSince(before);
    expect(parts.length).toBeGreaterThan(1);
    expect(parts[0]!.messages[1]!.content).toContain('Wish 0');
    expect(parts[1]!.messages[1]!.content).toContain('Earlier summary:\nShe wants the aisle.');
    expect(parts.every(({ messages }) => JSON.stringify(messages).length < budgetTokens * 4)).toBe(true);
    await simulator.clear();
    const small = client.responses.compact({ model: 'small', input: 'x' });
    await expect(small).rejects.toMatchObject({ status: 400, param: 'model' });
    const odd = { model: 'plain', previous_response_id: id, tools: 'x', include: 1, text: [], context_management: 1 };
    expect(await client.responses.compact(odd as { model: 'plain' })).toMatchObject({ object: 'response.compaction' });
    const nothing = client.responses.compact({ model: 'plain' });
    await expect(nothing).rejects.toMatchObject({ status: 400, param: 'input' });
    await simulator.plan({ fault: { kind: 'status', status: 400 } });
    const failing = client.responses.compact({ model: 'plain', input: 'x' });
    await expect(failing).rejects.toMatchObject({ code: 'backend_refused' });
  });
});

describe('over PostgreSQL', () => {
  test('another node goes on after the compaction of the one that was lost', { timeout: 90_000 }, async () => {
    await using ended = new AsyncDisposableStack();
    const postgres = await startPostgres();
    ended.defer(() => postgres.stop());
    const env = {
      USHER_TEST_DATABASE: await postgres.freshDatabase(),
      USHER_TEST_ROOT: randomBytes(32).toString('base64'),
    };
    const storage = { kind: 'postgres', url: { env: 'USHER_TEST_DATABASE' } };
    const config = { storage, vault: { rootKeys: [{ env: 'USHER_TEST_ROOT' }] } };
    const node = { ...usherFiles([simulator.baseUrl], { assistants, config }), env };
    await using lost = await startUsher(node);
    await using other = await startUsher(node);
    const clientOf = ({ url }: UsherProcess): OpenAI =>
      new OpenAI({ baseURL: `${url}/v1`, apiKey: lost.apiKey, maxRetries: 0 });
    const [talking, looking] = [clientOf(lost), clientOf(other)];
    const from = await asked();
    await simulator.plan({ say: 'The summary.' });
    await simulator.plan({ fault: { kind: 'hang' } });
    const input = [...longInput(), { role: 'user' as const, content: 'Where do I sit?' }];
    const stream = await talking.responses.create({ ...ask, model: 'keeper', input, stream: true });
    const told: OpenAI.Responses.ResponseStreamEvent[] = [];
    for await (const event of stream) {
      told.push(event);
      if (event.type === 'response.output_item.done') break;
    }
    const [created] = told;
    if (created?.type !== 'response.created') throw new Error('no beginning was told');
    await simulator.until(({ totals }) => totals.requests === from + 2);
    await simulator.plan({ say: 'In row seven.' });
    await lost.kill();
    await simulator.control({ do: 'release' });
    const { id } = created.response;
    const state = async (): Promise<string | undefined> => (await looking.responses.retrieve(id)).status;
    await expect.poll(state, { timeout: 30_000 }).toBe('completed');
    const rest = await heard(
      await looking.responses.retrieve(id, { stream: true, starting_after: told.at(-1)!.sequence_number }),
    );
    const made = await accumulated([...told, ...rest]);
    expect(made).toEqual(plain(await looking.responses.retrieve(id)));
    expect(made.output.map(({ type }) => type)).toEqual(['compaction', 'message']);
    expect(made.output_text).toBe('In row seven.');
    expect((await promptsSince(from)).map(isSummary)).toEqual([true, false, false]);
    const next = await looking.responses.create({ model: 'keeper', previous_response_id: id, input: 'Thanks' });
    expect(next.status).toBe('completed');
    expect((await promptsSince(from)).at(-1)!.messages[1]!.content).toContain('The summary.');
  });
});
