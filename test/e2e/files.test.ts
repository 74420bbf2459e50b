import OpenAI from 'openai';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { startModelSimulator, type ModelSimulator } from '#test/model-simulator';
import { checkedClients } from '#test/checked-clients';
import { startUsher, type UsherProcess } from '#test/process';
import { usherFiles } from '#test/usher-files';

const model = 'helper';
/** One page that says "Row seven is free". */
const pdf =
  'data:application/pdf;base64,JVBERi0xLjcKMSAwIG9iago8PCAvVHlwZSAvQ2F0YWxvZyAvUGFnZXMgMiAwIFIgPj4KZW5kb2JqCjIgMCBvYmoKPDwgL1R5cGUgL1BhZ2VzIC9LaWRzIFs0IDAgUl0gL0NvdW50IDEgPj4KZW5kb2JqCjMgMCBvYmoKPDwgL1R5cGUgL0ZvbnQgL1N1YnR5cGUgL1R5cGUxIC9CYXNlRm9udCAvSGVsdmV0aWNhID4+CmVuZG9iago0IDAgb2JqCjw8IC9UeXBlIC9QYWdlIC9QYXJlbnQgMiAwIFIgL01lZGlhQm94IFswIDAgNjEyIDc5Ml0gL0NvbnRlbnRzIDUgMCBSIC9SZXNvdXJjZXMgPDwgL0ZvbnQgPDwgL0YxIDMgMCBSID4+ID4+ID4+CmVuZG9iago1IDAgb2JqCjw8IC9MZW5ndGggNDggPj4Kc3RyZWFtCkJUIC9GMSAxMiBUZiA3MiA3MjAgVGQgKFJvdyBzZXZlbiBpcyBmcmVlKSBUaiBFVAplbmRzdHJlYW0KZW5kb2JqCnhyZWYKMCA2CjAwMDAwMDAwMDAgNjU1MzUgZiAKMDAwMDAwMDAwOSAwMDAwMCBuIAowMDAwMDAwMDU4IDAwMDAwIG4gCjAwMDAwMDAxMTUgMDAwMDAgbiAKMDAwMDAwMDE4NSAwMDAwMCBuIAowMDAwMDAwMzExIDAwMDAwIG4gCnRyYWlsZXIKPDwgL1NpemUgNiAvUm9vdCAxIDAgUiA+PgpzdGFydHhyZWYKNDA5CiUlRU9GCg==';
const csv = Buffer.from('row,seat\n7,1').toString('base64');
const question = { type: 'input_text' as const, text: 'Which row?' };
const seen = '<file name="plan.pdf">\nRow seven is free\n</file>';

let simulator: ModelSimulator;
let usher: UsherProcess;
let client: OpenAI;
const clientOf = checkedClients();

beforeAll(async () => {
  simulator = await startModelSimulator();
  usher = await startUsher(usherFiles([simulator.baseUrl], { assistants: { [model]: {} } }));
  client = clientOf(usher);
});
beforeEach(() => simulator.clear());
afterAll(async () => {
  await usher?.stop();
  await simulator?.stop();
});

async function lastAsked(): Promise<unknown> {
  const { requests } = await simulator.log();
  return (requests.at(-1)!.body as { messages: { content: unknown }[] }).messages.at(-1)?.content;
}

const file = (rest: object) => ({ type: 'input_file' as const, ...rest });
const ask = (...parts: OpenAI.Responses.ResponseInputContent[]) =>
  client.responses.create({ model, input: [{ role: 'user', content: [...parts, question] }] });

describe('a file in a message', () => {
  test('is put before the model as the text that it holds, and stored and given back so', async () => {
    const made = await ask(file({ filename: 'plan.pdf', file_data: pdf }), file({ filename: 'a.csv', file_data: csv }));
    const wanted = `${seen}\n\n<file name="a.csv">\nrow,seat\n7,1\n</file>\n\nWhich row?`;
    expect(await lastAsked()).toBe(wanted);
    const { data } = await client.responses.inputItems.list(made.id);
    const text = Buffer.from('Row seven is free').toString('base64');
    expect(data[0]).toMatchObject({
      content: [
        { type: 'input_file', filename: 'plan.pdf', file_data: `data:text/plain;base64,${text}` },
        {},
        question,
      ],
    });
    await client.responses.create({ model, input: data.toReversed() as OpenAI.Responses.ResponseInputItem[] });
    expect(await lastAsked()).toBe(wanted);
    await client.responses.create({ model, previous_response_id: made.id, input: 'And now?' });
    const { requests } = await simulator.log();
    expect(JSON.stringify(requests.at(-1)?.body)).toContain('Row seven is free');
  });

  test('may stand beside an image, and on Chat Completions', async () => {
    const image = 'data:image/png;base64,iVBORw0KGgo=';
    await ask({ type: 'input_image', image_url: image, detail: 'low' }, file({ filename: 'plan.pdf', file_data: pdf }));
    expect(await lastAsked()).toMatchObject([{ type: 'image_url' }, { text: seen }, { text: 'Which row?' }]);
    const content: OpenAI.ChatCompletionContentPart[] = [
      { type: 'file', file: { filename: 'plan.pdf', file_data: pdf } },
      { type: 'text', text: 'Which row?' },
    ];
    await client.chat.completions.create({ model, messages: [{ role: 'user', content }] });
    expect(await lastAsked()).toBe(`${seen}\n\nWhich row?`);
  });

  test('names no conversation, and is counted', async () => {
    const { id: conversation } = await client.conversations.create();
    const parts = [file({ filename: 'plan.pdf', file_data: pdf }), question];
    const body = { model, input: [{ role: 'user' as const, content: parts }] };
    await client.responses.create({ ...body, conversation });
    const count = async (content: object[]) =>
      client.responses.inputTokens.count({ model, input: [{ role: 'user', content: content as typeof parts }] });
    expect((await count(parts)).input_tokens).toBeGreaterThan((await count([question])).input_tokens + 4);
  });

  test('is refused with a sentence where it cannot be read, or is not there', async () => {
    const refusals: [object, string, RegExp][] = [
      [{ filename: 'a.docx', file_data: 'UEsDBAD/' }, 'file_data', /"a\.docx" cannot be read: only text, HTML and PDF/],
      [
        { filename: 'a.pdf', file_data: 'data:application/pdf;base64,JVBERi0x' },
        'file_data',
        /not a PDF that can be read/,
      ],
      [{ filename: 'a.txt', file_data: 'data:,%zz' }, 'file_data', /must be a data URL, or Base64/],
      [{ filename: 'a.txt' }, 'file_data', /must be a data URL, or Base64/],
      [{ file_id: 'file-1' }, 'file_id', /not stored here by id/],
      [{ file_url: 'https://example.org/a.pdf' }, 'file_url', /not fetched from addresses/],
    ];
    for (const [rest, param, message] of refusals) {
      const failure = await ask(file(rest)).catch((error: unknown) => error);
      const at = `input[0].content[0].${param}`;
      expect(failure).toMatchObject({ status: 400, param: at, message: expect.stringMatching(message) });
    }
    const system = { role: 'system' as const, content: [file({ filename: 'a.csv', file_data: csv })] };
    await expect(client.responses.create({ model, input: [system] })).rejects.toMatchObject({ status: 400 });
    const plain = new OpenAI({ baseURL: `${usher.url}/v1`, apiKey: usher.apiKey });
    const body = { assistant: model, subject: 'ann' };
    const { token } = await plain.post<{ token: string }>('/user_tokens', { body });
    const ann = new OpenAI({ baseURL: `${usher.url}/v1`, apiKey: token, maxRetries: 0 });
    const input = [{ role: 'user' as const, content: [file({ filename: 'a.csv', file_data: csv })] }];
    await expect(ann.responses.create({ model, input })).rejects.toMatchObject({ status: 403 });
  });

  test('costs no more than its length, whatever it is instead of a data URL or Base64', async () => {
    for (const data of [
      `data:${'a'.repeat(2_000_000)}`,
      `${' '.repeat(2_000_000)}!`,
      `data:${';'.repeat(2_000_000)}`,
    ]) {
      await expect(ask(file({ filename: 'a.txt', file_data: data }))).rejects.toMatchObject({ status: 400 });
    }
  });

  test('holds no more text together with the others of its request than one may', async () => {
    const text = `data:,${'a'.repeat(2_100_000)}`;
    const files = ['a.txt', 'b.txt'].map((filename) => file({ filename, file_data: text }));
    const refused = { status: 400, message: expect.stringContaining('together') };
    await expect(ask(...files)).rejects.toMatchObject(refused);
  });
});
