import OpenAI from 'openai';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { startModelSimulator, type ModelSimulator } from '#test/model-simulator';
import { hasOpenAiSpec, openOpenAiSpec, type OpenAiSpec } from '#test/openai-spec';
import { startUsher, type UsherProcess } from '#test/process';
import { accumulated, heard, isGapless, plain } from '#test/response-oracle';
import { usherFiles } from '#test/usher-files';

let simulator: ModelSimulator;
let usher: UsherProcess;
let client: OpenAI;
let spec: OpenAiSpec | undefined;

const knowledge = {
  'foyer.md': '# Foyer\n\nThe cloakroom closes at eleven.\n',
  'bar.md': '# Bar\n\nThe bar opens at six.\n',
};

beforeAll(async () => {
  simulator = await startModelSimulator();
  const assistants = {
    looking: { spec: { knowledge: { search: 'tool' } }, knowledge },
    told: { knowledge },
    knowing: { spec: { knowledge: { search: 'tool', embeddings: 'small' } }, knowledge },
    bare: { spec: { knowledge: { search: 'tool' } } },
  };
  const embeddings = [{ name: 'small', kind: 'openai-compatible', url: simulator.baseUrl, model: 'simulated' }];
  usher = await startUsher(usherFiles([simulator.baseUrl], { assistants, config: { embeddings } }));
  spec = hasOpenAiSpec ? openOpenAiSpec() : undefined;
  const fetch = spec === undefined ? {} : { fetch: spec.fetch };
  client = new OpenAI({ baseURL: `${usher.url}/v1`, apiKey: usher.apiKey, maxRetries: 0, ...fetch });
});
beforeEach(async () => {
  await simulator.clear();
  await simulator.control({ do: 'forget' });
});
afterAll(async () => {
  await usher?.stop();
  await simulator?.stop();
});

const asks = (query: string): string => `[[sim:call file_search ${JSON.stringify({ query })}]]`;
const chats = async () => (await simulator.log()).requests.filter(({ path }) => path.endsWith('/chat/completions'));
const violations = async (): Promise<unknown> => (await spec?.violations()) ?? [];

describe('a model that searches the knowledge itself', () => {
  test('is given no passages but a function, and what it looked for is told as a search, stored, and heard again', async () => {
    const input = `When does it close? ${asks('cloakroom')} [[sim:say At eleven.]]`;
    const events = await heard(await client.responses.create({ model: 'looking', input, stream: true }));
    const told = events.map(({ type }) => type).filter((type) => type.includes('call'));
    expect(told).toEqual([
      'response.file_search_call.in_progress',
      'response.file_search_call.searching',
      'response.file_search_call.completed',
    ]);
    expect(isGapless(events, 0)).toBe(true);
    const final = await accumulated(events);
    expect(final.output_text).toBe('At eleven.');
    expect(final.output[0]).toMatchObject({
      type: 'file_search_call',
      status: 'completed',
      queries: ['cloakroom'],
      results: null,
    });
    expect(final).toEqual(plain(await client.responses.retrieve(final.id)));
    for (let offset = 0; offset < events.length; offset += 1) {
      const again = await heard(await client.responses.retrieve(final.id, { stream: true, starting_after: offset }));
      expect(again).toEqual(events.slice(offset + 1));
    }
    const [first, second] = (await chats()).map(({ body }) => JSON.stringify(body));
    expect(first).not.toContain('closes at eleven');
    expect(first).toContain('"name":"file_search"');
    expect(second).toContain('closes at eleven');
    expect(await violations()).toEqual([]);
  });

  test('shows what it found to those who ask for it, at once and later', async () => {
    const include = ['file_search_call.results' as const];
    const input = `${asks('bar')} [[sim:say At six.]]`;
    const made = await client.responses.create({ model: 'looking', input, include });
    const found = [{ file_id: 'bar.md', filename: 'Bar', text: 'The bar opens at six.', score: 1, attributes: null }];
    expect(made.output[0]).toMatchObject({ type: 'file_search_call', results: found });
    const plainly = await client.responses.create({ model: 'looking', input });
    expect(plainly.output[0]).toMatchObject({ results: null });
    expect((await client.responses.retrieve(plainly.id, { include })).output[0]).toMatchObject({ results: found });
    const { id } = await client.conversations.create();
    const turn = { model: 'looking', conversation: id };
    await client.responses.create({ ...turn, input });
    const listed = await client.conversations.items.list(id, { include, order: 'asc' });
    expect(listed.data[1]).toMatchObject({ results: found });
    expect((await client.conversations.items.list(id, { order: 'asc' })).data[1]).toMatchObject({ results: null });
    const at = { conversation_id: id };
    const item = listed.data[1]!.id!;
    expect(await client.conversations.items.retrieve(item, { ...at, include })).toMatchObject({ results: found });
    expect(await client.conversations.items.retrieve(item, at)).toMatchObject({ results: null });
    const items = [listed.data[1] as OpenAI.Responses.ResponseInputItem];
    expect((await client.conversations.items.create(id, { items, include })).data[0]).toMatchObject({ results: found });
    const again = await client.responses.create({
      ...turn,
      input: [...items, { role: 'user', content: '[[sim:say ok]]' }],
    });
    const said = await client.responses.inputItems.list(again.id, { include, order: 'asc' });
    expect(said.data[0]).toMatchObject({ results: found });
    expect(await violations()).toEqual([]);
  });

  test('finds by meaning too where the assistant names an embedding model', async () => {
    const input = `${asks('at the')} [[sim:say Yes.]]`;
    const include = ['file_search_call.results' as const];
    const byWords = await client.responses.create({ model: 'looking', input, include });
    expect(byWords.output[0]).toMatchObject({ results: [] });
    const both = await client.responses.create({ model: 'knowing', input, include });
    expect(both.output[0]).toMatchObject({ results: [{ score: 1 }, {}] });
  });

  test('that asks for nothing is told so and answers; without documents it is offered no search', async () => {
    const input = '[[sim:call file_search {}]] [[sim:say I cannot tell.]]';
    const made = await client.responses.create({ model: 'looking', input });
    expect(made.output_text).toBe('I cannot tell.');
    expect(made.output[0]).toMatchObject({ type: 'file_search_call', status: 'failed', queries: [] });
    await client.responses.create({ model: 'bare', input: 'Hello' });
    expect((await chats()).at(-1)?.body).not.toHaveProperty('tools');
    expect(await violations()).toEqual([]);
  });

  test('whose node dies while it searches goes on elsewhere with the same search', { timeout: 60_000 }, async () => {
    const embeddings = [{ name: 'small', kind: 'openai-compatible', url: simulator.baseUrl, model: 'vectors' }];
    const assistants = { knowing: { spec: { knowledge: { search: 'tool', embeddings: 'small' } }, knowledge } };
    await using lost = await startUsher(usherFiles([simulator.baseUrl], { assistants, config: { embeddings } }));
    const talking = new OpenAI({ baseURL: `${lost.url}/v1`, apiKey: lost.apiKey, maxRetries: 0 });
    await simulator.control({ do: 'forget' });
    // The question itself is embedded too, before the model is asked; what hangs is the search.
    await simulator.plan({}, { model: 'vectors', contains: 'Look.' });
    await simulator.plan('[[sim:hang]]', { model: 'vectors' });
    const input = `Look. ${asks('bar')} [[sim:say At six [1].]]`;
    const taken = await talking.responses.create({ model: 'knowing', input, background: true });
    await simulator.until(
      ({ requests, totals }) =>
        totals.active === 1 && requests.filter(({ path }) => path.endsWith('/embeddings')).length === 2,
    );
    await lost.kill();
    await simulator.control({ do: 'release' });
    await lost.restart();
    await expect
      .poll(async () => (await talking.responses.retrieve(taken.id)).status, { timeout: 30_000 })
      .toBe('completed');
    const made = await talking.responses.retrieve(taken.id, { include: ['file_search_call.results'] });
    expect(made.output).toMatchObject([
      { type: 'file_search_call', status: 'completed', results: [{ file_id: 'bar.md' }] },
      { type: 'message', content: [{ text: 'At six [1].', annotations: [{ file_id: 'bar.md', index: 10 }] }] },
    ]);
  });

  test('is stopped at once, also while its question is embedded', async () => {
    // The question itself is embedded too, before the model is asked; what hangs is the search.
    await simulator.plan({}, { model: 'simulated', contains: 'Look.' });
    await simulator.plan(asks('bar'), { model: 'simulated' });
    await simulator.plan('[[sim:hang]]', { model: 'simulated' });
    const taken = await client.responses.create({ model: 'knowing', input: 'Look.', background: true });
    await simulator.until(
      ({ requests, totals }) =>
        totals.active === 1 && requests.filter(({ path }) => path.endsWith('/embeddings')).length === 2,
    );
    const cancelled = await client.responses.cancel(taken.id);
    // Nobody has let the embedding go.
    expect((await simulator.log()).totals.active).toBe(1);
    expect(cancelled).toMatchObject({
      status: 'cancelled',
      output: [{ type: 'file_search_call', status: 'incomplete' }],
    });
    await simulator.control({ do: 'release' });
  });

  test('keeps what it found for the next turn, and on Chat Completions its work alone is seen', async () => {
    const { id: conversation } = await client.conversations.create();
    await client.responses.create({ model: 'looking', conversation, input: `${asks('bar')} [[sim:say At six.]]` });
    await client.responses.create({ model: 'looking', conversation, input: '[[sim:say Yes.]]' });
    expect(JSON.stringify((await chats()).at(-1)?.body)).toContain('The bar opens at six.');
    const { data } = await client.conversations.items.list(conversation);
    expect(data.map(({ type }) => type)).toContain('file_search_call');
    const messages = [{ role: 'user' as const, content: `${asks('bar')} [[sim:say Six.]]` }];
    const made = await client.chat.completions.create({ model: 'looking', messages });
    expect(made.choices[0]).toMatchObject({ finish_reason: 'stop', message: { content: 'Six.' } });
    expect(made.choices[0]?.message.tool_calls).toBeUndefined();
    const streamed = await client.chat.completions.create({ model: 'looking', messages, stream: true });
    let text = '';
    for await (const { choices } of streamed) {
      text += choices[0]?.delta.content ?? '';
      expect(choices[0]?.delta.tool_calls).toBeUndefined();
    }
    expect(text).toBe('Six.');
    expect(await violations()).toEqual([]);
  });
});

describe('what a model marks as taken from a passage', () => {
  const annotationsOf = ({ output }: OpenAI.Responses.Response): unknown =>
    output.flatMap((item) =>
      item.type === 'message' ? item.content.map((part) => (part.type === 'output_text' ? part.annotations : [])) : [],
    );
  const cited = (file_id: string, filename: string, index: number): object => ({
    type: 'file_citation',
    file_id,
    filename,
    index,
  });

  test('is an annotation with the place of the mark, told as it comes, stored, and heard again', async () => {
    const input = 'When does the cloakroom close? [[sim:say At eleven [1], I think [9].]] [[sim:slice max=1]]';
    const events = await heard(await client.responses.create({ model: 'told', input, stream: true }));
    const told = events.filter(({ type }) => type === 'response.output_text.annotation.added');
    expect(told).toMatchObject([{ annotation_index: 0, annotation: cited('foyer.md', 'Foyer', 13) }]);
    const final = await accumulated(events);
    expect(final.output_text).toBe('At eleven [1], I think [9].');
    expect(annotationsOf(final)).toEqual([[cited('foyer.md', 'Foyer', 13)]]);
    expect(final).toEqual(plain(await client.responses.retrieve(final.id)));
    const [asked] = await chats();
    expect(JSON.stringify(asked?.body)).toContain('<passage number=\\"1\\" source=\\"foyer.md\\"');
    expect(await violations()).toEqual([]);
  });

  test('goes on counting over the searches of one turn', async () => {
    const input = `${asks('cloakroom')} [[sim:then]] ${asks('bar')} [[sim:say Eleven [1], six [2].]]`;
    const made = await client.responses.create({ model: 'looking', input });
    expect(annotationsOf(made)).toEqual([[cited('foyer.md', 'Foyer', 10), cited('bar.md', 'Bar', 19)]]);
    expect(await violations()).toEqual([]);
  });

  test(
    'means the same to whoever goes on with the answer, whatever a search would find then',
    { timeout: 60_000 },
    async () => {
      const vectors = await startModelSimulator();
      const many = Object.fromEntries(
        Array.from({ length: 8 }, (_, nth) => [
          `row-${nth}.md`,
          `# Seats\n\nA seat of the row${' and row'.repeat(nth)} ${nth}.\n`,
        ]),
      );
      const assistants = { seated: { spec: { knowledge: { embeddings: 'small' } }, knowledge: many } };
      const embeddings = [{ name: 'small', kind: 'openai-compatible', url: vectors.baseUrl, model: 'simulated' }];
      await using lost = await startUsher(usherFiles([simulator.baseUrl], { assistants, config: { embeddings } }));
      const asking = new OpenAI({ baseURL: `${lost.url}/v1`, apiKey: lost.apiKey, maxRetries: 0 });
      await simulator.plan({ say: 'In the row [1].', fault: { kind: 'stall', after: 2 } });
      const input = 'Which seat of the row?';
      const { id } = await asking.responses.create({ model: 'seated', input, background: true });
      await simulator.until((log) => log.totals.active === 1);
      await lost.kill();
      // By words alone the order would be another.
      await vectors.stop();
      await simulator.control({ do: 'release' });
      await simulator.plan({ say: 'In the row [1].' });
      await lost.restart();
      await expect
        .poll(async () => (await asking.responses.retrieve(id)).status, { timeout: 30_000 })
        .toBe('completed');
      const passagesOf = (body: unknown): string[] =>
        [...JSON.stringify(body).matchAll(/row-\d\.md/gu)].map(([at]) => at);
      const [first, second] = (await chats()).map(({ body }) => passagesOf(body));
      expect(first!.length).toBeGreaterThan(2);
      expect(second).toEqual(first);
      const again = await asking.responses.create({ model: 'seated', input });
      expect(again.status).toBe('completed');
      expect(passagesOf((await chats()).at(-1)?.body)).not.toEqual(first);
    },
  );

  test('is not looked for in an answer of JSON, whose lists are no marks', async () => {
    const text = { format: { type: 'json_object' as const } };
    const input = 'When does the bar open? [[sim:say {"hours":[1]}]]';
    const made = await client.responses.create({ model: 'told', input, text });
    expect(made.output_text).toBe('{"hours":[1]}');
    expect(annotationsOf(made)).toEqual([[]]);
    expect(JSON.stringify((await chats())[0]?.body)).not.toContain('passage number');
  });
});

describe('the tool file_search of a request', () => {
  const tool = { type: 'file_search' as const, vector_store_ids: [] as string[] };
  const input = `${asks('opens six closes')} [[sim:say Now.]]`;

  test('lets the model search where the assistant itself does not, within the bounds that it gives', async () => {
    const include = ['file_search_call.results' as const];
    const ask = (change: object) =>
      client.responses.create({ model: 'told', input, include, tools: [{ ...tool, ...change }] });
    const made = await ask({ vector_store_ids: ['told'] });
    expect(made.output[0]).toMatchObject({ type: 'file_search_call', results: [{}, {}] });
    expect(made.tools).toEqual([{ type: 'file_search', vector_store_ids: ['told'] }]);
    expect((await ask({ max_num_results: 1 })).output[0]).toMatchObject({ results: [{ score: 1 }] });
    const ranking = { ranking_options: { ranker: 'auto', score_threshold: 1 } };
    expect((await ask(ranking)).output[0]).toMatchObject({ results: [{ score: 1 }] });
    expect(await violations()).toEqual([]);
  });

  test('can be demanded', async () => {
    await client.responses.create({ model: 'told', input, tools: [tool], tool_choice: { type: 'file_search' } });
    expect((await chats())[0]?.body).toMatchObject({
      tool_choice: { type: 'function', function: { name: 'file_search' } },
    });
  });

  test.each([
    [{ filters: { type: 'eq', key: 'a', value: 'b' } }, 400, /"tools\[0\].filters" must be left out/],
    [{ vector_store_ids: ['vs_1'] }, 404, /no vector store "vs_1".*"told"/],
    [{ max_num_results: 0 }, 400, /max_num_results/],
  ])('with what cannot be done is refused in a sentence: %j', async (change, status, message) => {
    const refused = client.responses.create({
      model: 'told',
      input,
      tools: [{ ...tool, ...change } as OpenAI.Responses.Tool],
    });
    await expect(refused).rejects.toMatchObject({ status, message: expect.stringMatching(message) as string });
  });
});
