import { convert, type FormatCallback, type HtmlToTextOptions } from 'html-to-text';
import type { Passage } from '#release';
import { cleanText, passagesOfSections, titleOfPath, type Section } from './section.ts';

// Private-use characters that carry a heading's level and id through the conversion to text.
const open = '\u{e000}';
const close = '\u{e001}';
const headingPattern = /^\u{e000}([1-6])\u{e000}([^\u{e000}\u{e001}]*)\u{e001}\s*(.*)$/u;

const markedHeading: FormatCallback = (element, walk, builder) => {
  const { name, attribs } = element as { name: string; attribs?: { id?: string } };
  builder.openBlock({ leadingLineBreaks: 2 });
  builder.addInline(`${open}${name.slice(1)}${open}${attribs?.id ?? ''}${close} `);
  walk(element.children, builder);
  builder.closeBlock({ trailingLineBreaks: 2 });
};

const unread = ['script', 'style', 'noscript', 'template', 'nav', 'img', 'svg', 'button', 'input', 'select'];

const options: HtmlToTextOptions = {
  wordwrap: false,
  formatters: { markedHeading },
  limits: { maxDepth: 200 },
  selectors: [
    ...['h1', 'h2', 'h3', 'h4', 'h5', 'h6'].map((selector) => ({ selector, format: 'markedHeading' })),
    ...unread.map((selector) => ({ selector, format: 'skip' })),
    { selector: 'a', options: { ignoreHref: true } },
    { selector: 'table', format: 'dataTable', options: { uppercaseHeaderCells: false } },
  ],
};

/** Passages of an HTML page, by its headings; their `id` is the anchor. Scripts, styles and navigation are left out. */
export function readHtml(path: string, html: string): Passage[] {
  const text = cleanText(convert(html.replaceAll(/[\u{e000}\u{e001}]/gu, ''), options));
  const title = convert(html, { baseElements: { selectors: ['title'], returnDomByDefault: false }, wordwrap: false });
  const sections = sectionsOf(text.split('\n'));
  const first = sections.find((section) => section.level === 1)?.heading;
  return passagesOfSections(path, title.trim() || first || titleOfPath(path), sections);
}

function sectionsOf(lines: readonly string[]): Section[] {
  const sections: { level: number; heading: string; anchor: string | undefined; lines: string[] }[] = [
    { level: 0, heading: '', anchor: undefined, lines: [] },
  ];
  for (const line of lines) {
    const found = headingPattern.exec(line);
    if (found === null) sections.at(-1)!.lines.push(line);
    else
      sections.push({ level: Number(found[1]), heading: found[3]!.trim(), anchor: found[2] || undefined, lines: [] });
  }
  return sections.map(({ level, heading, anchor, lines: own }) => ({
    level,
    heading,
    anchor,
    blocks: paragraphs(own.join('\n')),
  }));
}

/** Paragraphs: what empty lines part. */
export function paragraphs(text: string): { readonly text: string }[] {
  return text
    .split(/\n[ \t]*\n/u)
    .map((paragraph) => ({ text: paragraph.trim() }))
    .filter((block) => block.text !== '');
}
