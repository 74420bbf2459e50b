import { createHash } from 'node:crypto';
import { mkdtemp, readFile, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { scriptedBackend, type ScriptedBackend, type ScriptedRequest } from '#test/scripted-backend';
import type { ServerResponse } from 'node:http';
import { downloadModel } from './download-model.ts';

const model = Buffer.concat([Buffer.from('GGUF'), Buffer.alloc(300_000, 'weights ')]);
const sha256 = createHash('sha256').update(model).digest('hex');

let folder: string;
let to: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'usher-download-'));
  to = join(folder, 'models', 'small.gguf');
});
afterEach(() => rm(folder, { recursive: true, force: true }));

/** Serves the model with ranges; with `stopAfter` the first answer goes no further. */
function serveModel(stopAfter: number | undefined, etag = '"v1"') {
  return (request: ScriptedRequest, response: ServerResponse, nth: number): void => {
    const start = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
    const isPart = start > 0 && request.headers['if-range'] === etag;
    const body = isPart ? model.subarray(start) : model;
    response.writeHead(isPart ? 206 : 200, {
      etag,
      'content-length': body.length,
      ...(isPart ? { 'content-range': `bytes ${start}-${model.length - 1}/${model.length}` } : {}),
    });
    if (nth === 0 && stopAfter !== undefined) response.write(body.subarray(0, stopAfter));
    else response.end(body);
  };
}

/** Breaks the first request's connection once something of it has arrived. */
function breakFirst(server: ScriptedBackend) {
  return (progress: { readonly receivedBytes: number }): void => {
    if (progress.receivedBytes > 0 && server.requests.length === 1) server.requests[0]?.socket.destroy();
  };
}

test('a model arrives whole, with its progress told and its checksum held', async () => {
  await using server = await scriptedBackend(serveModel(undefined));
  const told: number[] = [];
  const onProgress = (progress: { receivedBytes: number; totalBytes: number | undefined }) => {
    expect(progress.totalBytes).toBe(model.length);
    told.push(progress.receivedBytes);
  };
  await downloadModel({ url: `${server.url}/small.gguf`, sha256, to, onProgress });
  expect(await readFile(to)).toEqual(model);
  expect([told[0], told.at(-1)]).toEqual([0, model.length]);
  expect(await readdir(join(folder, 'models'))).toEqual(['small.gguf']);
});

test('an interrupted download leaves no file under the name, and goes on where it stopped', async () => {
  await using server = await scriptedBackend(serveModel(100_000));
  const options = { url: `${server.url}/small.gguf`, sha256, to, onProgress: breakFirst(server) };
  await expect(downloadModel(options)).rejects.toMatchObject({ code: 'backend_unavailable' });
  expect(await readdir(join(folder, 'models'))).toEqual(['small.gguf.part', 'small.gguf.part.json']);
  await downloadModel(options);
  expect(server.requests[1]?.headers.range).toMatch(/^bytes=[1-9]\d*-$/);
  expect(await readFile(to)).toEqual(model);
});

test('a file that changed meanwhile is downloaded anew', async () => {
  await using server = await scriptedBackend((request, response, nth) =>
    serveModel(nth === 0 ? 100_000 : undefined, nth === 0 ? '"v1"' : '"v2"')(request, response, nth),
  );
  const options = { url: `${server.url}/small.gguf`, sha256, to, onProgress: breakFirst(server) };
  await expect(downloadModel(options)).rejects.toThrow();
  await downloadModel(options);
  expect(await readFile(to)).toEqual(model);
});

test('stopping keeps what came', async () => {
  await using server = await scriptedBackend((_request, response) => {
    response.writeHead(200, { 'content-length': model.length, etag: '"v1"' });
    response.write(model.subarray(0, 1_000));
  });
  const controller = new AbortController();
  const onProgress = (progress: { receivedBytes: number }) => progress.receivedBytes > 0 && controller.abort();
  const stopped = downloadModel({
    url: `${server.url}/x`,
    to,
    signal: controller.signal,
    onProgress: (progress) => void onProgress(progress),
  });
  await expect(stopped).rejects.toMatchObject({ code: 'interrupted' });
  expect((await readFile(`${to}.part`)).length).toBe(1_000);
});

test('a wrong checksum removes the file and says so', async () => {
  await using server = await scriptedBackend(serveModel(undefined));
  const wrong = downloadModel({ url: `${server.url}/x`, sha256: '0'.repeat(64), to });
  await expect(wrong).rejects.toThrow(/checksum/);
  expect(await readdir(join(folder, 'models'))).toEqual([]);
});

test('a web page in the place of a model is refused', async () => {
  await using server = await scriptedBackend((_request, response) => void response.end('<html>Sign in</html>'));
  await expect(downloadModel({ url: `${server.url}/x`, to })).rejects.toThrow(/no GGUF file/);
});

test('a model larger than the disk is refused before it fills it', async () => {
  await using server = await scriptedBackend((_request, response) => {
    response.writeHead(200, { 'content-length': 1e15 });
    response.write('GGUF');
  });
  await expect(downloadModel({ url: `${server.url}/x`, to })).rejects.toMatchObject({
    code: 'storage_full',
    message: expect.stringMatching(/needs 1000000\.3 GB .* are free/),
  });
});

test('a redirect is followed on the same origin, and to no private address elsewhere', async () => {
  await using inner = await scriptedBackend(serveModel(undefined));
  await using server = await scriptedBackend((request, response, nth) => {
    if (request.path === '/v1/near') response.writeHead(302, { location: '/v1/model' }).end();
    else if (request.path === '/v1/far') response.writeHead(302, { location: `${inner.url}/model` }).end();
    else if (request.path === '/v1/round') response.writeHead(302, { location: '/v1/round' }).end();
    else serveModel(undefined)(request, response, nth);
  });
  await downloadModel({ url: `${server.url}/near`, sha256, to });
  await expect(downloadModel({ url: `${server.url}/far`, to: `${to}2` })).rejects.toThrow(/EADDRCLOSED/);
  await expect(downloadModel({ url: `${server.url}/round`, to: `${to}3` })).rejects.toThrow(/without end/);
  expect(inner.requests).toHaveLength(0);
});

test('an address that is not there is told as that', async () => {
  await using server = await scriptedBackend((_request, response) => void response.writeHead(404).end());
  await expect(downloadModel({ url: `${server.url}/x`, to })).rejects.toThrow(/status 404; check the address/);
});
