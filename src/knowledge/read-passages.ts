import type { Problem } from '#base';
import type { Passage, ReleaseFile } from '#release';
import { packBlocks } from './pack-blocks.ts';
import { paragraphs, readHtml } from './read-html.ts';
import { readMarkdown } from './read-markdown.ts';
import { readPdf } from './read-pdf.ts';
import { cleanText, titleOfPath } from './section.ts';
import { UnreadableDocument } from './unreadable-document.ts';

const passagesMax = 20_000;
const folder = 'knowledge/';

/** Kinds that documents refer to but that hold no text of their own. */
const pictures = new Set(['png', 'jpg', 'jpeg', 'gif', 'webp', 'svg', 'avif', 'ico']);

/**
 * The passages of the documents below `knowledge/`, in the order of the files, with sources below
 * that folder. A document that cannot be read is a problem with the mend, never an exception.
 */
export async function readPassages(
  files: readonly ReleaseFile[],
): Promise<{ readonly passages: readonly Passage[]; readonly problems: readonly Problem[] }> {
  const passages: Passage[] = [];
  const problems: Problem[] = [];
  for (const file of files.filter(({ path }) => path.startsWith(folder))) {
    try {
      for (const passage of await readDocument(file)) passages.push(passage);
    } catch (error) {
      problems.push({ file: file.path, line: 0, column: 0, message: mendOf(error) });
    }
    if (passages.length > passagesMax) {
      const message = `the knowledge makes more than ${passagesMax} passages; leave out what the assistant does not need`;
      return { passages: [], problems: [...problems, { file: file.path, line: 0, column: 0, message }] };
    }
  }
  return { passages, problems };
}

function mendOf(error: unknown): string {
  if (error instanceof UnreadableDocument) return error.message;
  // A parser that ran out of stack.
  if (error instanceof RangeError) return 'the document is nested too deeply to be read; make it flatter';
  return 'the document cannot be read; save it anew, or in another format';
}

function readDocument(file: ReleaseFile): Promise<Passage[]> | Passage[] {
  const path = file.path.slice(folder.length);
  const extension = path.slice(path.lastIndexOf('.') + 1).toLowerCase();
  const text = (): string => Buffer.from(file.bytes).toString('utf8');
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
      return readPdf(path, file.bytes);
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
