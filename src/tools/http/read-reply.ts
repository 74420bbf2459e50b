import type { EgressReply } from '#egress';
import { withoutCutSecrets, withoutSecrets } from '../authority.ts';
import { cutResult } from '../runnable-tool.ts';
import { ToolFailure } from '../tool-failure.ts';

export interface ReadOptions {
  readonly bytesMax: number;
  readonly secrets: readonly string[];
}

const errorBytesMax = 2000;
const textType =
  /^(?:text\/|application\/(?:[\w.-]+\+)?(?:json|xml|yaml)\b|application\/(?:x-ndjson|x-yaml|javascript|jsonl)\b)/i;

/**
 * The text of an answer, bounded, without the secrets that were sent. Reads no further than it keeps.
 * @throws ToolFailure for a status that is no success, and for what is no text
 */
export async function readReply(reply: EgressReply, { bytesMax, secrets }: ReadOptions): Promise<string> {
  const type = reply.headers['content-type'] ?? '';
  const succeeded = reply.status >= 200 && reply.status < 300;
  const encoding = reply.headers['content-encoding'];
  if (encoding !== undefined && encoding !== 'identity') {
    reply.body.destroy();
    throw new ToolFailure('failed', "The tool's server compressed its answer although that was not asked for.");
  }
  const isText = type === '' || textType.test(type);
  if (!isText) reply.body.destroy();
  const kept = succeeded ? bytesMax : Math.min(bytesMax, errorBytesMax);
  const read = isText ? await readText(reply, { kept, secrets, type }) : { text: '', isWhole: true };
  if (!succeeded) {
    const told = read.text.trim() === '' ? '.' : `: ${cutResult(read.text.trim(), kept, read.isWhole)}`;
    throw new ToolFailure('failed', `The tool's server answered with status ${reply.status}${told}`);
  }
  if (!isText) throw new ToolFailure('failed', `The tool's server answered with ${shortType(type)}, which is no text.`);
  if (read.text === '') return `The call succeeded (status ${reply.status}) and returned nothing.`;
  return cutResult(read.text, kept, read.isWhole);
}

async function readText(
  { body }: EgressReply,
  { kept, secrets, type }: { readonly kept: number; readonly secrets: readonly string[]; readonly type: string },
): Promise<{ readonly text: string; readonly isWhole: boolean }> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  let isWhole = true;
  for await (const chunk of body as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    bytes += chunk.byteLength;
    if (bytes <= kept) continue;
    isWhole = false;
    break;
  }
  const text = decoderFor(type).decode(Buffer.concat(chunks).subarray(0, kept), { stream: !isWhole });
  return { text: isWhole ? withoutSecrets(text, secrets) : withoutCutSecrets(text, secrets), isWhole };
}

function decoderFor(type: string): InstanceType<typeof TextDecoder> {
  const label = /charset="?([\w-]{1,40})/i.exec(type)?.[1] ?? 'utf-8';
  try {
    return new TextDecoder(label);
  } catch {
    return new TextDecoder();
  }
}

function shortType(type: string): string {
  return /^[\w.+-]{1,40}\/[\w.+-]{1,60}/.exec(type)?.[0] ?? 'an unknown type';
}
