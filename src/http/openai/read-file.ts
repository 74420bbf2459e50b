import { z } from 'zod';
import { UsherError } from '#base';
import type { Principal } from '#access';
import type { ContentPart } from '#conversation';
import type { TurnRooms } from '#turn';
import type { Exchange } from '../exchange.ts';

/** A file as both wires describe it. */
export const fileShape = {
  filename: z
    .string()
    .max(255)
    .nullish()
    .describe('What it is called: the model is told, and its ending may say what it is.'),
  file_data: z.string().nullish().describe('The file: a data URL, or Base64.'),
  file_id: z.string().nullish().describe('Not served: send the file itself.'),
};
type WireFile = { readonly [Name in keyof typeof fileShape]?: string | null | undefined } & {
  readonly file_url?: string | null | undefined;
};
type ImagePart = Extract<ContentPart, { type: 'image' }>;

/** Who sends a part, and where it stands in the body: `input[0].content[1]`. */
export interface PartPlace {
  readonly role: string;
  readonly at: string;
  /** What the field with its data is called there; absent: as on this wire. */
  readonly field?: string;
}

const filesMax = 20;
/** Of all files of a request together: a few kilobytes may hold as much. */
const charactersMax = 4_000_000;
/** Of what stands before the comma of a data URL. */
const headCharactersMax = 512;

/** Reads the files of one request into text. */
export class FileParts {
  readonly #rooms: Pick<TurnRooms, 'files'>;
  readonly #principal: Principal;
  readonly #signal: AbortSignal;
  #count = 0;
  #characters = 0;

  constructor(rooms: Pick<TurnRooms, 'files'>, { principal, signal }: Pick<Exchange, 'principal' | 'signal'>) {
    this.#rooms = rooms;
    this.#principal = principal;
    this.#signal = signal;
  }

  /** @throws UsherError `invalid_request` where it cannot be read, `forbidden` for a person's token */
  async read(file: WireFile, { role, at, field = 'file_data' }: PartPlace): Promise<ContentPart> {
    const param = `${at}.${file.file_url == null ? (file.file_id == null ? field : 'file_id') : 'file_url'}`;
    const refused = (message: string): UsherError => new UsherError('invalid_request', message, { param });
    if (this.#principal.kind === 'user') {
      throw new UsherError('forbidden', "An end user's token may not send files. Call with an API key instead.", {
        param,
      });
    }
    if (role !== 'user') throw refused(`A message of the role ${role} cannot hold a file. Send it as the user.`);
    this.#count += 1;
    if (this.#count > filesMax) throw refused(`A request may hold at most ${filesMax} files. Send fewer.`);
    if (file.file_url != null)
      throw refused('Files are not fetched from addresses here. Send the file as "file_data".');
    if (file.file_id != null) throw refused('Files are not stored here by id. Send the file as "file_data".');
    const { mediaType, bytes } = readData(file.file_data ?? '');
    if (bytes === undefined || bytes.length === 0) throw refused('"file_data" must be a data URL, or Base64.');
    const name = nameOf(file);
    const { tenant } = this.#principal;
    const read = await this.#rooms.files.read({ name, mediaType, bytes }, { tenant, signal: this.#signal });
    if (read.result === 'refused') throw refused(`The file "${name}" cannot be read: ${read.mend}`);
    this.#characters += read.text.length;
    if (this.#characters > charactersMax)
      throw refused(`The files hold more than ${charactersMax} characters together. Send fewer.`);
    return { type: 'file', name, text: read.text };
  }
}

/** @throws UsherError `invalid_request` for what no model would be shown */
export function readImage(
  image: Pick<WireFile, 'file_id'> & {
    readonly url?: string | null | undefined;
    readonly detail?: ImagePart['detail'] | null | undefined;
  },
  { role, at }: PartPlace,
): ImagePart {
  const { url, detail } = image;
  if (image.file_id != null) {
    const message = 'Files are not stored here by id. Send the image as a data URL in "image_url".';
    throw new UsherError('invalid_request', message, { param: `${at}.file_id` });
  }
  const param = `${at}.image_url`;
  if (url == null) throw new UsherError('invalid_request', `"${param}" must be given: a string.`, { param });
  if (role !== 'user') {
    const message = `A message of the role ${role} cannot hold an image. Send it as the user.`;
    throw new UsherError('invalid_request', message, { param });
  }
  return { type: 'image', url, ...(detail == null ? {} : { detail }) };
}

/** It stands in the prompt, so it is one plain line. */
function nameOf({ filename }: WireFile): string {
  const name = (filename ?? '').replaceAll(/[\p{Cc}"<>]/gu, ' ').trim();
  return name === '' ? 'file' : name;
}

/** `data:application/pdf;base64,…`, with whatever parameters it has, or Base64. No pattern looks at it twice: it may be long. */
function readData(data: string): { readonly mediaType: string | undefined; readonly bytes: Buffer | undefined } {
  const comma = data.startsWith('data:') ? data.slice(0, headCharactersMax).indexOf(',') : -1;
  if (comma === -1) return { mediaType: undefined, bytes: fromBase64(data) };
  const head = data.slice('data:'.length, comma);
  const content = data.slice(comma + 1);
  const mediaType = head.split(';', 1)[0]!.toLowerCase() || undefined;
  return { mediaType, bytes: head.endsWith(';base64') ? fromBase64(content) : fromPercents(content) };
}

function fromBase64(content: string): Buffer | undefined {
  return /^[\w+/\s-]*={0,2}$/.test(content.trimEnd()) ? Buffer.from(content, 'base64') : undefined;
}

function fromPercents(content: string): Buffer | undefined {
  try {
    return Buffer.from(decodeURIComponent(content));
  } catch {
    return undefined;
  }
}
