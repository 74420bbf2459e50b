import { expect, test } from 'vitest';
import { scriptedBackend } from '#test/scripted-backend';
import { chatModels } from './choose-chat-model.ts';
import { detectLocalServers } from './detect.ts';

const { signal } = new AbortController();
/** Ports where nothing can listen. */
const nowhere = { ollama: 1, 'llama.cpp': 1, 'lm-studio': 1, vllm: 1 };

async function serving(path: string, answer: object) {
  return scriptedBackend((request, response) => {
    response.statusCode = request.path === path ? 200 : 404;
    response.end(JSON.stringify(request.path === path ? answer : {}));
  });
}

test('an Ollama server is found with its chat models, the local ones only', async () => {
  await using server = await serving('/api/tags', {
    models: [
      { name: 'nomic-embed-text:latest', details: { family: 'nomic-bert' } },
      { name: 'all-minilm:latest', details: { family: 'bert' } },
      { name: 'gpt-oss:120b-cloud', remote_host: 'https://elsewhere.example' },
      { name: 'qwen2.5-coder:7b', details: { family: 'qwen2' } },
      { name: 'llama3.2:3b', details: { family: 'llama' } },
    ],
  });
  expect(await detectLocalServers({ signal, ports: { ...nowhere, ollama: server.port } })).toEqual([
    { name: 'ollama', url: server.url, models: ['llama3.2:3b', 'qwen2.5-coder:7b'] },
  ]);
});

test('a llama.cpp server is found by what it says of itself', async () => {
  await using server = await serving('/v1/models', { data: [{ id: 'gemma.gguf', owned_by: 'llamacpp' }] });
  expect(await detectLocalServers({ signal, ports: { ...nowhere, 'llama.cpp': server.port } })).toEqual([
    { name: 'llama.cpp', url: server.url, models: ['gemma.gguf'] },
  ]);
});

test('an LM Studio server is found, its loaded model first', async () => {
  await using server = await serving('/api/v0/models', {
    data: [
      { id: 'text-embedding-nomic', type: 'embeddings', state: 'loaded' },
      { id: 'phi', type: 'llm', state: 'not-loaded' },
      { id: 'gemma', type: 'vlm', state: 'loaded' },
    ],
  });
  expect(await detectLocalServers({ signal, ports: { ...nowhere, 'lm-studio': server.port } })).toMatchObject([
    { name: 'lm-studio', models: ['gemma', 'phi'] },
  ]);
});

test('our own server, or any other that lists models, is not taken for one', async () => {
  await using server = await serving('/v1/models', { object: 'list', data: [{ id: 'guide', owned_by: 'usher' }] });
  const ports = { ollama: server.port, 'llama.cpp': server.port, 'lm-studio': server.port, vllm: server.port };
  expect(await detectLocalServers({ signal, ports })).toEqual([]);
});

test('a server that does not answer is left out in time, and cancelling ends the search at once', async () => {
  await using server = await scriptedBackend(() => undefined);
  expect(await detectLocalServers({ signal, ports: { ...nowhere, ollama: server.port } })).toEqual([]);
  expect(await detectLocalServers({ signal: AbortSignal.abort(), ports: nowhere })).toEqual([]);
});

test('general chat models come before specialists, and what cannot chat is left out', () => {
  const names = [
    'text-embedding-3-small',
    'whisper-1',
    'codestral',
    'qwen2.5vl:7b',
    'gpt-4.1-mini',
    'bge-m3',
    'mistral',
  ];
  expect(chatModels(names)).toEqual(['qwen2.5vl:7b', 'gpt-4.1-mini', 'mistral', 'codestral']);
});
