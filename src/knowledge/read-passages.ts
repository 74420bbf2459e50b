import type { Problem } from '#base';
import type { Passage, ReleaseFile } from '#release';
import { packBlocks } from './pack-blocks.ts';
import { paragraphs, readHtml } from './read-html.ts';
import { readMarkdown } from './read-markdown.ts';
import { readPdf } from './read-pdf.ts';
import { cleanText, titleOfPath } from './section.ts';

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
      const message = error instanceof Error ? error.message : 'the document cannot be read';
      problems.push({ file: file.path, line: 0, column: 0, message });
    }
    if (passages.length > passagesMax) {
      const message = `the knowledge makes more than ${passagesMax} passages; leave out what the assistant does not need`;
      return { passages: [], problems: [...problems, { file: file.path, line: 0, column: 0, message }] };
    }
  }
  return { passages, problems };
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
      throw new Error('only markdown, text, HTML and PDF documents are read; save it as one of them, or leave it out');
  }
}

function readPlainText(path: string, text: string): Passage[] {
  return packBlocks(paragraphs(cleanText(text))).map((part) => ({
    source: path,
    title: titleOfPath(path),
    text: part,
  }));
}
