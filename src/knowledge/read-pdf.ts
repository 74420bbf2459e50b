import { extractText, getDocumentProxy, getMeta } from 'unpdf';
import type { Passage } from '#release';
import { packBlocks } from './pack-blocks.ts';
import { paragraphs } from './read-html.ts';
import { cleanText, titleOfPath } from './section.ts';
import { UnreadableDocument } from './unreadable-document.ts';

const pagesMax = 2000;

/**
 * Passages of a PDF, by pages.
 *
 * @throws UnreadableDocument encrypted, damaged, too long, or without text
 */
export async function readPdf(path: string, bytes: Uint8Array): Promise<Passage[]> {
  // The parser takes the buffer over, so it gets its own.
  const document = await getDocumentProxy(new Uint8Array(bytes), { verbosity: 0 }).catch((error: unknown) => {
    throw new UnreadableDocument(openFailure(error), { cause: error });
  });
  try {
    if (document.numPages > pagesMax) throw new UnreadableDocument(`the PDF has more than ${pagesMax} pages; split it`);
    const { text } = await extractText(document, { mergePages: false });
    const title = (await declaredTitle(document)) ?? titleOfPath(path);
    const passages = text.flatMap((page, index) =>
      packBlocks(paragraphs(cleanText(page))).map((part) => ({
        source: `${path}#page=${index + 1}`,
        title: `${title} › page ${index + 1}`,
        text: part,
      })),
    );
    if (passages.length === 0)
      throw new UnreadableDocument('the PDF holds no text; if it is a scan, run text recognition over it first');
    return passages;
  } finally {
    await document.loadingTask.destroy();
  }
}

async function declaredTitle(document: Awaited<ReturnType<typeof getDocumentProxy>>): Promise<string | undefined> {
  const { info } = await getMeta(document);
  const title: unknown = info['Title'];
  return typeof title === 'string' && title.trim() !== '' ? cleanText(title).trim().slice(0, 200) : undefined;
}

function openFailure(error: unknown): string {
  const name = error instanceof Error ? error.name : '';
  if (name === 'PasswordException') return 'the PDF asks for a password; save it without one';
  return 'the file is not a PDF that can be read; save it anew';
}
