import type { Passage } from '#release';
import { packBlocks } from './pack-blocks.ts';
import { paragraphs, readHtml } from './read-html.ts';
import { readMarkdown } from './read-markdown.ts';
import { readPdf } from './read-pdf.ts';
import { cleanText, titleOfPath } from './section.ts';
import { UnreadableDocument } from './unreadable-document.ts';

/** Kinds that documents refer to but that hold no text of their own. */
const pictures = new Set(['png', 'jpg', 'jpeg', 'gif', 'webp', 'svg', 'avif', 'ico']);

/** A document by its path below `knowledge/`. */
export interface ToParse {
  readonly path: string;
  readonly bytes: Uint8Array;
}

/** What a document came to; `mend` is a sentence for its owner. */
export type ParsedDocument =
  | { readonly result: 'read'; readonly passages: readonly Passage[] }
  | { readonly result: 'refused'; readonly mend: string };

/**
 * The passages of a document, by its path below `knowledge/`. One that cannot be read is refused, never an
 * exception.
 */
export async function parseDocument(path: string, bytes: Uint8Array): Promise<ParsedDocument> {
  try {
    return { result: 'read', passages: await passagesOf(path, bytes) };
  } catch (error) {
    return { result: 'refused', mend: mendOf(error) };
  }
}

function mendOf(error: unknown): string {
  if (error instanceof UnreadableDocument) return error.message;
  // A parser that ran out of stack.
  if (error instanceof RangeError) return 'the document is nested too deeply to be read; make it flatter';
  return 'the document cannot be read; save it anew, or in another format';
}

function passagesOf(path: string, bytes: Uint8Array): Promise<Passage[]> | Passage[] {
  const extension = path.slice(path.lastIndexOf('.') + 1).toLowerCase();
  const text = (): string => Buffer.from(bytes).toString('utf8');
  switch (extension) {
    case 'md':
    case 'markdown':
      return readMarkdown(path, text());
    case 'txt':
    case 'text':
      return readPlainText(path, text());
    case 'html':
    case 'htm':
      return readHtml(path, text());
    case 'pdf':
      return readPdf(path, bytes);
    default:
      if (pictures.has(extension)) return [];
      throw new UnreadableDocument(
        'only markdown, text, HTML and PDF documents are read; save it as one of them, or leave it out',
      );
  }
}

function readPlainText(path: string, text: string): Passage[] {
  return packBlocks(paragraphs(cleanText(text))).map((part) => ({
    source: path,
    title: titleOfPath(path),
    text: part,
  }));
}
