import OpenAI from 'openai';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { startModelSimulator, type ModelSimulator } from '#test/model-simulator';
import { checkedClients } from '#test/checked-clients';
import { startUsher, type UsherProcess } from '#test/process';
import { accumulated, heard, isGapless, plain } from '#test/response-oracle';
import { usherFiles } from '#test/usher-files';
import { startToolServer, type ToolServer } from '../chaos/tool-server.ts';

let simulator: ModelSimulator;
let tools: ToolServer;
let usher: UsherProcess;
let client: OpenAI;
const clientOf = checkedClients();
const model = 'helper';
const book = '[[sim:call book {"seat":7}]] [[sim:say It is booked.]]';

beforeAll(async () => {
  simulator = await startModelSimulator();
  tools = await startToolServer(20);
  const tool = {
    kind: 'http',
    name: 'book',
    description: 'Books a seat.',
    method: 'POST',
    url: `${tools.origin}/book`,
    parameters: { type: 'object', properties: { seat: { type: 'integer' } }, required: ['seat'] },
    confirm: true,
  };
  const config = { tools: { privateOrigins: [tools.origin] } };
  usher = await startUsher(
    usherFiles([simulator.baseUrl], { assistants: { [model]: { spec: { tools: [tool] } } }, config }),
  );
  client = clientOf(usher);
});
beforeEach(() => simulator.clear());
afterAll(async () => {
  await usher?.stop();
  await Promise.all([simulator?.stop(), tools?.stop()]);
});

const approval = (id: string, approve: boolean, reason?: string) => ({
  type: 'mcp_approval_response' as const,
  approval_request_id: id,
  approve,
  ...(reason === undefined ? {} : { reason }),
});

/** The request for approval that a response ended with. */
function requestIn({ output }: OpenAI.Responses.Response): OpenAI.Responses.ResponseOutputItem.McpApprovalRequest {
  const last = output.at(-1);
  if (last?.type !== 'mcp_approval_request') throw new Error(`no request for approval, but ${last?.type}`);
  return last;
}

describe('a tool that the person has to agree to', () => {
  test('is asked for whole, runs once they agree, and its outcome is answered from', async () => {
    const before = tools.hits.size;
    const events = await heard(await client.responses.create({ model, input: book, stream: true }));
    expect(isGapless(events, 0)).toBe(true);
    const asked = await accumulated(events);
    expect(asked.status).toBe('completed');
    const request = requestIn(asked);
    expect(request).toMatchObject({ name: 'book', arguments: '{"seat":7}', server_label: 'http' });
    expect(asked).toEqual(plain(await client.responses.retrieve(asked.id)));
    expect(tools.hits.size).toBe(before);

    const body = { model, previous_response_id: asked.id, input: [approval(request.id, true)] };
    const told = await heard(await client.responses.create({ ...body, stream: true }));
    const final = await accumulated(told);
    expect(final.output.map(({ type }) => type)).toEqual(['mcp_call', 'message']);
    expect(final.output[0]).toMatchObject({ output: '{"booked":true}', approval_request_id: request.id });
    expect(final.output_text).toBe('It is booked.');
    expect(final).toEqual(plain(await client.responses.retrieve(final.id)));
    expect(await heard(await client.responses.retrieve(final.id, { stream: true }))).toEqual(told);
    expect(tools.hits.size).toBe(before + 1);
    const { messages } = (await simulator.log()).requests.at(-1)!.body as { messages: { role: string }[] };
    expect(messages.map(({ role }) => role)).toEqual(['system', 'user', 'assistant', 'tool']);
  });

  test('does not run where they refuse, or say something else; the model is told', async () => {
    const before = tools.hits.size;
    const { id: conversation } = await client.conversations.create();
    const request = requestIn(await client.responses.create({ model, conversation, input: book }));
    const input = [approval(request.id, false, 'Too dear.')];
    await client.responses.create({ model, conversation, input });
    expect(JSON.stringify((await simulator.log()).requests.at(-1)!.body)).toContain('refused it: Too dear.');
    const again = requestIn(await client.responses.create({ model, conversation, input: book }));
    const other = await client.responses.create({ model, conversation, input: '[[sim:say Row nine, then.]]' });
    expect(other.output_text).toBe('Row nine, then.');
    expect(JSON.stringify((await simulator.log()).requests.at(-1)!.body)).toContain('has not agreed to it');
    // They may still change their mind.
    const late = await client.responses.create({ model, conversation, input: [approval(again.id, true)] });
    expect(late.output[0]).toMatchObject({ type: 'mcp_call', output: '{"booked":true}' });
    expect(tools.hits.size).toBe(before + 1);
    const { data } = await client.conversations.items.list(conversation, { order: 'asc', limit: 50 });
    expect(data.map(({ type }) => type).filter((type) => type.includes('approval'))).toHaveLength(4);
  });

  test('is approved once, by its own conversation, and not by what a caller invents', async () => {
    const { id: conversation } = await client.conversations.create();
    const { id: other } = await client.conversations.create();
    const request = requestIn(await client.responses.create({ model, conversation, input: book }));
    const before = tools.hits.size;
    const refused = { status: 400, param: 'input' };
    const approving = (place: object, ids: readonly string[]) =>
      client.responses.create({ model, ...place, input: ids.map((id) => approval(id, true)) });
    await expect(approving({ conversation: other }, [request.id])).rejects.toMatchObject(refused);
    await expect(approving({}, [request.id])).rejects.toMatchObject(refused);
    await expect(approving({ conversation }, [`mcpr_${'0'.repeat(32)}`])).rejects.toMatchObject(refused);
    await expect(approving({ conversation }, [request.id, request.id])).rejects.toMatchObject(refused);
    const items = [approval(request.id, true)];
    await expect(client.conversations.items.create(conversation, { items })).rejects.toMatchObject({ status: 400 });
    await approving({ conversation }, [request.id]);
    await expect(approving({ conversation }, [request.id])).rejects.toMatchObject(refused);
    expect(tools.hits.size).toBe(before + 1);
  });

  test('stands in what is sent back as asked, agreed or run, and is never approved for having been sent', async () => {
    const asked = await client.responses.create({ model, input: book });
    const request = requestIn(asked);
    const user = (content: string) => ({ role: 'user' as const, content });
    const messages = async () =>
      (
        (await simulator.log()).requests.at(-1)!.body as { messages: { role: string; content: string }[] }
      ).messages.slice(1);
    const open = [user(book), ...asked.output, user('[[sim:say Row nine, then.]]')] as OpenAI.Responses.ResponseInput;
    const sent = await client.responses.create({ model, input: open });
    expect(sent.output_text).toBe('Row nine, then.');
    expect((await messages()).map(({ role }) => role)).toEqual(['user', 'assistant', 'tool', 'user']);
    expect((await messages())[2]!.content).toContain('has not agreed to it');

    const agreed = approval(request.id, true);
    const { output } = await client.responses.create({ model, previous_response_id: asked.id, input: [agreed] });
    const whole = [user(book), request, agreed, ...output, user('[[sim:say Yes]]')] as OpenAI.Responses.ResponseInput;
    await client.responses.create({ model, input: whole });
    expect((await messages()).map(({ role }) => role)).toEqual(['user', 'assistant', 'tool', 'assistant', 'user']);
    expect((await messages())[2]!.content).toBe('{"booked":true}');

    const before = tools.hits.size;
    const refused = { status: 400, param: 'input' };
    const inOne = [user('Book.'), request, approval(request.id, true)];
    await expect(client.responses.create({ model, input: inOne })).rejects.toMatchObject(refused);
    const { data } = await client.responses.inputItems.list(sent.id);
    const forged = data.find(({ type }) => type === 'mcp_approval_request')!.id;
    expect(forged).not.toBe(request.id);
    const later = { model, previous_response_id: sent.id, input: [approval(forged, true)] };
    await expect(client.responses.create(later)).rejects.toMatchObject(refused);
    const { id: conversation } = await client.conversations.create({ items: [request] });
    const [item] = (await client.conversations.items.list(conversation)).data;
    const there = { model, conversation, input: [approval(item!.id!, true)] };
    await expect(client.responses.create(there)).rejects.toMatchObject(refused);
    expect(tools.hits.size).toBe(before);
  });

  test('is approved once, whichever responses follow the one that asked, and only where that is kept', async () => {
    const asked = await client.responses.create({ model, input: book });
    const request = requestIn(asked);
    const before = tools.hits.size;
    const approving = (rest: object) =>
      client.responses.create({
        model,
        previous_response_id: asked.id,
        input: [approval(request.id, true)],
        ...rest,
      });
    const refused = { status: 400, param: 'input' };
    await expect(approving({ store: false })).rejects.toMatchObject(refused);
    expect(tools.hits.size).toBe(before);
    const both = await Promise.allSettled([approving({ temperature: 0.1 }), approving({ temperature: 0.2 })]);
    expect(both.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected']);
    await expect(approving({ temperature: 0.3 })).rejects.toMatchObject(refused);
    const { id } = await approving({ background: true, temperature: 0.4 });
    await expect.poll(async () => (await client.responses.retrieve(id)).status).toBe('failed');
    expect(tools.hits.size).toBe(before + 1);
  });

  test('is approved once, also where the answer to it, the call and its response were deleted', async () => {
    const { id: conversation } = await client.conversations.create();
    const inConversation = requestIn(await client.responses.create({ model, conversation, input: book }));
    const asked = await client.responses.create({ model, input: book });
    const before = tools.hits.size;
    const approving = (place: object, id: string) =>
      client.responses.create({ model, ...place, input: [approval(id, true)] });
    const refused = { status: 400, param: 'input', message: expect.stringContaining('answered before') as string };

    const first = await approving({ conversation }, inConversation.id);
    const { data } = await client.conversations.items.list(conversation, { order: 'asc', limit: 50 });
    expect(first.output[0]?.id).toBe(inConversation.id.replace('mcpr_', 'mcp_'));
    for (const { type, id } of data.filter((item) => item.type !== 'mcp_approval_request')) {
      if (type !== 'message') await client.conversations.items.delete(id!, { conversation_id: conversation });
    }
    await expect(approving({ conversation, temperature: 0.1 }, inConversation.id)).rejects.toMatchObject(refused);
    await client.responses.delete(first.id);
    await expect(approving({ conversation, temperature: 0.2 }, inConversation.id)).rejects.toMatchObject(refused);

    const place = { previous_response_id: asked.id };
    await client.responses.delete((await approving(place, requestIn(asked).id)).id);
    await expect(approving({ ...place, temperature: 0.1 }, requestIn(asked).id)).rejects.toMatchObject(refused);
    const { id } = await approving({ ...place, background: true, temperature: 0.2 }, requestIn(asked).id);
    await expect.poll(async () => (await client.responses.retrieve(id)).status).toBe('failed');
    expect(tools.hits.size).toBe(before + 2);
  });

  test('may be approved by a person with a token of their own; where nobody can be asked it is refused', async () => {
    const post = async (path: string, credential: string, body: object) => {
      const headers = { authorization: `Bearer ${credential}`, 'content-type': 'application/json' };
      return (await fetch(usher.url + path, { method: 'POST', headers, body: JSON.stringify(body) })).json();
    };
    const minted = (await post('/v1/user_tokens', usher.apiKey, { assistant: model, subject: 'ann' })) as {
      token: string;
    };
    const person = new OpenAI({ baseURL: `${usher.url}/v1`, apiKey: minted.token, maxRetries: 0 });
    const { id: conversation } = await person.conversations.create();
    const request = requestIn(await person.responses.create({ model, conversation, input: book }));
    const made = await person.responses.create({ model, conversation, input: [approval(request.id, true)] });
    expect(made.output_text).toBe('It is booked.');

    const unstored = await client.responses.create({ model, input: book, store: false });
    expect(unstored.output[0]).toMatchObject({ type: 'mcp_call', status: 'failed' });
    const before = tools.hits.size;
    const messages = [{ role: 'user' as const, content: book }];
    const completion = await client.chat.completions.create({ model, messages });
    expect(completion.choices[0]?.message.content).toBe('It is booked.');
    expect(tools.hits.size).toBe(before);
  });
});
