import type OpenAI from 'openai';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { checkedClients } from '#test/checked-clients';
import { startUsher, type UsherProcess } from '#test/process';
import { accumulated, heard, plain } from '#test/response-oracle';
import { scriptedBackend, streamHead, type ScriptedBackend } from '#test/scripted-backend';
import { usherFiles } from '#test/usher-files';

const model = 'helper';
const token = (text: string, rest: object = {}) => ({
  token: text,
  logprob: -0.5,
  bytes: null,
  top_logprobs: [],
  ...rest,
});
const told = [token('Row', { top_logprobs: [{ token: 'Seat', logprob: -1, bytes: null }] }), token(' seven')];

let server: ScriptedBackend;
let usher: UsherProcess;
let client: OpenAI;
const clientOf = checkedClients();

beforeAll(async () => {
  server = await scriptedBackend((request, response) => {
    const asksFor = (request.body as { logprobs?: boolean }).logprobs === true;
    streamHead(response);
    for (const each of told) {
      const logprobs = asksFor ? { content: [each, null] } : null;
      const choice = { index: 0, delta: { content: each.token }, logprobs, finish_reason: null };
      response.write(`data: ${JSON.stringify({ choices: [choice] })}\n\n`);
    }
    const last = { choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] };
    response.end(`data: ${JSON.stringify(last)}\n\ndata: [DONE]\n\n`);
  });
  usher = await startUsher(usherFiles([server.url], { assistants: { [model]: {} } }));
  client = clientOf(usher);
});
afterAll(async () => {
  await usher?.stop();
  await server?.[Symbol.asyncDispose]();
});

const asked = () => server.requests.at(-1)?.body as Record<string, unknown>;

describe('a response', () => {
  test('has the log probabilities that were asked for, told as they come, stored, and heard again the same', async () => {
    const body = { model, input: 'where?', include: ['message.output_text.logprobs' as const], top_logprobs: 2 };
    const events = await heard(await client.responses.create({ ...body, stream: true }));
    expect(asked()).toMatchObject({ logprobs: true, top_logprobs: 2 });
    const wanted = [
      { token: 'Row', logprob: -0.5, bytes: [], top_logprobs: [{ token: 'Seat', logprob: -1, bytes: [] }] },
      { token: ' seven', logprob: -0.5, bytes: [], top_logprobs: [] },
    ];
    const pieces = events.flatMap((event) => (event.type === 'response.output_text.delta' ? event.logprobs : []));
    expect(pieces).toEqual(wanted);
    const final = await accumulated(events);
    expect(final.output).toMatchObject([{ content: [{ text: 'Row seven', logprobs: wanted }] }]);
    expect(final.top_logprobs).toBe(2);
    expect(plain(await client.responses.retrieve(final.id))).toEqual(final);
    const again = await heard(await client.responses.retrieve(final.id, { stream: true }));
    expect(again).toEqual(events);
    await client.responses.create({ model, input: 'where?' });
    expect(asked()).not.toHaveProperty('logprobs');
  });

  test('gives back what was set as it was sent, and passes on what the model’s server may know', async () => {
    const settings = {
      metadata: { a: 'b' },
      safety_identifier: 'ophelia',
      user: 'ophelia',
      prompt_cache_key: 'stage',
      prompt_cache_retention: '24h' as const,
      service_tier: 'flex' as const,
      truncation: 'auto' as const,
      max_tool_calls: 3,
      top_logprobs: 0,
      text: { format: { type: 'text' as const }, verbosity: 'low' as const },
      reasoning: { effort: 'low' as const, summary: 'concise' as const },
    };
    const include = [
      'file_search_call.results',
      'web_search_call.action.sources',
      'code_interpreter_call.outputs',
    ] as OpenAI.Responses.ResponseIncludable[];
    const made = await client.responses.create({ model, input: 'where?', include, ...settings });
    expect(made).toMatchObject(settings);
    expect(await client.responses.retrieve(made.id)).toMatchObject(settings);
    expect(asked()).toMatchObject({
      prompt_cache_key: 'stage',
      prompt_cache_retention: '24h',
      service_tier: 'flex',
      verbosity: 'low',
      reasoning_effort: 'low',
    });
    const bare = await client.responses.create({ model, input: 'where?', text: { verbosity: 'high' } });
    expect(bare.text).toEqual({ format: { type: 'text' }, verbosity: 'high' });
    expect(bare).not.toHaveProperty('prompt_cache_key');
  });

  test('gives back the form of the answer where null was sent for it', async () => {
    // OpenAI's types know no null here; its description does.
    for (const text of [{ format: null }, null, { format: null, verbosity: null }]) {
      const body = { model, input: 'where?', ...({ text } as object) };
      expect((await client.responses.create(body)).text).toMatchObject({ format: { type: 'text' } });
    }
  });

  test('refuses what is no such setting', async () => {
    const refusals: [object, string][] = [
      [{ include: ['telepathy'] }, 'include[0]'],
      [{ top_logprobs: 21 }, 'top_logprobs'],
      [{ service_tier: 'first' }, 'service_tier'],
      [{ text: { verbosity: 'loud' } }, 'text.verbosity'],
    ];
    for (const [body, param] of refusals) {
      const refused = client.responses.create({ model, input: 'where?', ...body });
      await expect(refused).rejects.toMatchObject({ status: 400, param });
    }
  });
});
