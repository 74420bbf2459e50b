import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open, readFile, rename, rm, stat, statfs, writeFile, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { UsherError } from '#base';
import { openEgress, type Egress, type EgressReply, type Reach } from '#egress';

export interface DownloadOptions {
  readonly url: string;
  /** 64 hex digits; where given, a file with another content is refused and removed. */
  readonly sha256?: string;
  /** Where the model is to lie. Beside it `.part` grows meanwhile, from which a later call goes on. */
  readonly to: string;
  /** `totalBytes` is undefined where the server does not say. */
  readonly onProgress?: (progress: { readonly receivedBytes: number; readonly totalBytes: number | undefined }) => void;
  readonly signal?: AbortSignal;
}

const redirectsMax = 5;
/** Silence for so long means that the connection is dead. */
const silenceMs = 30_000;
/** How every GGUF file begins. */
const magic = Buffer.from('GGUF');
/** Left free on the disk besides the model, for the data of the server itself. */
const spareBytes = 256 * 1024 * 1024;

/**
 * Downloads a GGUF model, once: an interrupted download goes on where it stopped, and the file
 * appears under its name only when it is whole and its checksum is right.
 * @throws UsherError with the mend
 */
export async function downloadModel(options: DownloadOptions): Promise<void> {
  const part = `${options.to}.part`;
  await mkdir(dirname(options.to), { recursive: true });
  const held = await heldPart(part, options.url);
  {
    await using reply = await openReply(options, held);
    if (!isWhole(reply, held)) await receive(options, part, held, reply);
  }
  await checkPart(part, options.sha256);
  await rename(part, options.to);
  await rm(`${part}.json`, { force: true });
}

/** What an earlier, interrupted download left. */
interface HeldPart {
  readonly bytes: number;
  /** The validator under which those bytes were sent (RFC 9110, strong ETag or date). */
  readonly validator: string | undefined;
}

const nothingHeld: HeldPart = { bytes: 0, validator: undefined };

async function heldPart(part: string, url: string): Promise<HeldPart> {
  try {
    const { size } = await stat(part);
    const note = JSON.parse(await readFile(`${part}.json`, 'utf8')) as { url?: unknown; validator?: unknown };
    const isSame = note.url === url && typeof note.validator === 'string';
    return isSame ? { bytes: size, validator: note.validator as string } : nothingHeld;
  } catch {
    return nothingHeld;
  }
}

/** Headers are in, the body waits. */
interface Reply extends EgressReply, AsyncDisposable {}

/** Follows redirects: the first address is the owner's word, the further ones must be public and no less private. */
async function openReply(options: DownloadOptions, held: HeldPart): Promise<Reply> {
  let url = new URL(options.url);
  let reach: Reach = 'configured';
  for (let hops = 0; hops <= redirectsMax; hops++) {
    const reply = await ask(url, reach, held, options.signal);
    const { location } = reply.headers;
    if (reply.status < 300 || reply.status >= 400 || typeof location !== 'string') return reply;
    await reply[Symbol.asyncDispose]();
    const next = new URL(location, url);
    if (next.protocol !== 'https:' && next.protocol !== url.protocol) {
      throw failed('its address leads on to one without encryption');
    }
    if (next.origin !== url.origin) reach = 'public';
    url = next;
  }
  throw failed('its address leads on without end');
}

async function ask(url: URL, reach: Reach, held: HeldPart, signal: AbortSignal | undefined): Promise<Reply> {
  if (!/^https?:$/.test(url.protocol)) throw failed('its address is neither http nor https');
  const egress = openEgress(url, reach);
  const headers: Record<string, string> = { 'user-agent': 'usher', 'accept-encoding': 'identity' };
  if (held.validator !== undefined && held.bytes > 0) {
    headers['range'] = `bytes=${held.bytes}-`;
    headers['if-range'] = held.validator;
  }
  try {
    const reply = await egress.open({ method: 'GET', path: url.pathname + url.search, headers }, silenceMs, signal);
    return { ...reply, [Symbol.asyncDispose]: () => closeReply(reply, egress) };
  } catch (error) {
    await egress.close();
    throw transferFailure(error, signal);
  }
}

async function closeReply(reply: EgressReply, egress: Egress): Promise<void> {
  reply.body.on('error', () => undefined).destroy();
  await egress.close();
}

async function receive(options: DownloadOptions, part: string, held: HeldPart, reply: Reply): Promise<void> {
  const startBytes = startOf(reply, held);
  const lengthBytes = Number(reply.headers['content-length']);
  const totalBytes = Number.isSafeInteger(lengthBytes) ? startBytes + lengthBytes : undefined;
  if (totalBytes !== undefined) await checkRoom(options.to, totalBytes - startBytes);
  await noteValidator(options, part, reply);
  const file = await open(part, startBytes > 0 ? 'a' : 'w');
  try {
    const receivedBytes = await append(file, startBytes, totalBytes, reply, options);
    if (totalBytes !== undefined && receivedBytes !== totalBytes) throw failed('the connection ended too early', true);
    await file.sync();
  } catch (error) {
    throw transferFailure(error, options.signal);
  } finally {
    await file.close();
  }
}

async function append(
  file: FileHandle,
  startBytes: number,
  totalBytes: number | undefined,
  reply: Reply,
  options: DownloadOptions,
): Promise<number> {
  let receivedBytes = startBytes;
  options.onProgress?.({ receivedBytes, totalBytes });
  for await (const chunk of reply.body as AsyncIterable<Buffer>) {
    if (receivedBytes === 0 && !chunk.subarray(0, 4).equals(magic.subarray(0, chunk.length))) {
      throw failed('what lies at its address is no GGUF file');
    }
    await file.writeFile(chunk);
    receivedBytes += chunk.length;
    options.onProgress?.({ receivedBytes, totalBytes });
  }
  return receivedBytes;
}

/** Whether an earlier call received all and only did not come to the end of its work. */
function isWhole(reply: Reply, held: HeldPart): boolean {
  return reply.status === 416 && held.bytes > 0 && reply.headers['content-range'] === `bytes */${held.bytes}`;
}

/** Where the body belongs: behind what is held, or at the beginning where the file has changed. */
function startOf(reply: Reply, held: HeldPart): number {
  if (reply.status === 200) return 0;
  const range = /^bytes (\d+)-/.exec(String(reply.headers['content-range']))?.[1];
  if (reply.status === 206 && Number(range) === held.bytes) return held.bytes;
  throw failed(`its server answered with status ${reply.status}`);
}

/** Without a strong validator a later call cannot know that the rest belongs to the same file. */
async function noteValidator(options: DownloadOptions, part: string, reply: Reply): Promise<void> {
  const { etag, 'last-modified': date } = reply.headers;
  const validator = typeof etag === 'string' && !etag.startsWith('W/') ? etag : date;
  if (reply.status === 200) await writeFile(`${part}.json`, JSON.stringify({ url: options.url, validator }));
}

async function checkRoom(to: string, neededBytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(dirname(to));
  const freeBytes = bavail * bsize;
  if (freeBytes >= neededBytes + spareBytes) return;
  throw new UsherError(
    'storage_full',
    `The model needs ${gigabytes(neededBytes + spareBytes)} on the disk of ${dirname(to)}, ` +
      `where ${gigabytes(freeBytes)} are free: make room, or take a smaller model.`,
  );
}

async function checkPart(part: string, sha256: string | undefined): Promise<void> {
  if (sha256 === undefined) return;
  const hash = createHash('sha256');
  await pipeline(createReadStream(part), hash);
  if (hash.digest('hex') === sha256.toLowerCase()) return;
  await rm(part, { force: true });
  await rm(`${part}.json`, { force: true });
  throw failed('its checksum is not the expected one, so that the file was removed');
}

function transferFailure(error: unknown, signal: AbortSignal | undefined): UsherError {
  if (error instanceof UsherError) return error;
  if (signal?.aborted) {
    return new UsherError('interrupted', 'The download was stopped; started again, it goes on from there.');
  }
  const code = (error as NodeJS.ErrnoException | undefined)?.code ?? 'unknown';
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new UsherError('storage_full', 'The disk is full: make room for the model; the download then goes on.');
  }
  return failed(`the transfer failed (${/^\w+$/.test(code) ? code : 'unknown'})`, true);
}

function failed(what: string, canGoOn = false): UsherError {
  const mend = canGoOn ? 'try again, and it goes on where it stopped' : 'check the address';
  return new UsherError('backend_unavailable', `The model could not be downloaded: ${what}; ${mend}.`);
}

function gigabytes(bytes: number): string {
  return `${(bytes / 1e9).toFixed(1)} GB`;
}
