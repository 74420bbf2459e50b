import { readHtml } from './read-html.ts';
import { readPdf } from './read-pdf.ts';
import { cleanText } from './section.ts';
import { UnreadableDocument } from './unreadable-document.ts';

/** A file as somebody sent it. */
export interface SentFile {
  readonly name: string;
  /** As declared, such as `text/html`; undefined where it was not. */
  readonly mediaType: string | undefined;
  readonly bytes: Uint8Array;
}

/** What a file came to; `mend` is a sentence for whoever sent it. */
export type FileText =
  | { readonly result: 'read'; readonly text: string }
  | { readonly result: 'refused'; readonly mend: string };

/** About a million tokens, far beyond what any assistant's context takes. */
const charactersMax = 4_000_000;

/** Whether its text takes a parser, which may take seconds; else it is text already, or none can be had. */
export function needsParser(file: SentFile): boolean {
  return isPdf(file) || isHtml(file);
}

/** The whole text of a file, never an exception. */
export async function textOfFile(file: SentFile): Promise<FileText> {
  try {
    const text = isPdf(file) ? await pdfText(file) : isHtml(file) ? htmlText(file) : plainText(file);
    if (text.length <= charactersMax) return { result: 'read', text };
    return { result: 'refused', mend: `it holds more than ${charactersMax} characters. Send a part of it.` };
  } catch (error) {
    if (error instanceof UnreadableDocument) return { result: 'refused', mend: `${error.message}.` };
    return { result: 'refused', mend: 'it is damaged or nested too deeply. Save it anew, or as text.' };
  }
}

function isPdf({ bytes }: SentFile): boolean {
  return Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, 5)).toString('latin1') === '%PDF-';
}

function isHtml({ name, mediaType }: SentFile): boolean {
  return mediaType === undefined || mediaType === 'application/octet-stream'
    ? /\.html?$/i.test(name)
    : mediaType === 'text/html';
}

async function pdfText({ name, bytes }: SentFile): Promise<string> {
  const passages = await readPdf(name, bytes);
  return passages.map(({ text }) => text).join('\n\n');
}

function htmlText(file: SentFile): string {
  const passages = readHtml(file.name, decoded(file));
  return passages.map(({ text }) => text).join('\n\n');
}

function plainText(file: SentFile): string {
  return cleanText(decoded(file)).trim();
}

/** Whatever is UTF-8 without control characters is text, whatever it is called. */
function decoded({ bytes }: SentFile): string {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (error) {
    throw new UnreadableDocument(onlyText, { cause: error });
  }
  if (text.includes('\0')) throw new UnreadableDocument(onlyText);
  return text;
}

const onlyText = 'only text, HTML and PDF files are read; save it as one of them';
