import { lexer, type Token, type Tokens } from 'marked';
import type { Passage } from '#release';
import type { Block } from './pack-blocks.ts';
import { cleanText, passagesOfSections, titleOfPath, type Section } from './section.ts';

const frontMatterPattern = /^---\n([\s\S]*?)\n---(?:\n|$)/u;

/** Passages of a markdown document, by headings, with the anchors that GitHub gives them. */
export function readMarkdown(path: string, markdown: string): Passage[] {
  const frontMatter = frontMatterPattern.exec(markdown)?.[1];
  const body = frontMatter === undefined ? markdown : markdown.replace(frontMatterPattern, '');
  const sections = sectionsOf(lexer(cleanText(body)));
  const declared = /^title:\s*["']?(.+?)["']?\s*$/mu.exec(frontMatter ?? '')?.[1];
  const first = sections.find((section) => section.level === 1)?.heading;
  return passagesOfSections(path, declared ?? first ?? titleOfPath(path), sections);
}

function sectionsOf(tokens: readonly Token[]): Section[] {
  const slugs = new Map<string, number>();
  const sections: { level: number; heading: string; anchor: string | undefined; blocks: Block[] }[] = [
    { level: 0, heading: '', anchor: undefined, blocks: [] },
  ];
  for (const token of tokens) {
    if (token.type === 'heading') {
      const heading = plainText(token.tokens ?? []);
      const slug = uniqueSlug(heading, slugs);
      const top = token['depth'] === 1 && sections.length === 1 && sections[0]!.blocks.length === 0;
      sections.push({ level: token['depth'] as number, heading, anchor: top ? undefined : slug, blocks: [] });
    } else {
      const block = blockOf(token);
      if (block !== undefined) sections.at(-1)!.blocks.push(block);
    }
  }
  return sections;
}

function blockOf(token: Token): Block | undefined {
  switch (token.type) {
    case 'space':
    case 'hr':
    case 'def':
      return undefined;
    case 'html':
      return { text: token.raw.replaceAll(/<!--[\s\S]*?-->/gu, '').trim() };
    case 'table': {
      // Columns padded for the eye would fill a passage with spaces.
      const lines = token.raw.trimEnd().replaceAll(/ {2,}/gu, ' ').replaceAll(/-{4,}/gu, '---').split('\n');
      return { before: `${lines.slice(0, 2).join('\n')}\n`, text: lines.slice(2).join('\n') };
    }
    case 'code': {
      const fence = /^(`{3,}|~{3,})[^\n]*\n/u.exec(token.raw);
      if (fence === null) return { text: token.raw.trimEnd() };
      return { before: fence[0], text: String(token['text']), after: `\n${fence[1]}` };
    }
    default:
      return { text: token.raw.trim() };
  }
}

/** The words of a heading without their markup. */
function plainText(tokens: readonly Token[]): string {
  return tokens
    .map((token) => ('tokens' in token && token.tokens ? plainText(token.tokens) : textOfLeaf(token)))
    .join('')
    .trim();
}

function textOfLeaf(token: Token): string {
  if (token.type === 'html') return '';
  return 'text' in token ? unescapeEntities((token as Tokens.Text).text) : token.raw;
}

function unescapeEntities(text: string): string {
  return text
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
    .replaceAll('&quot;', '"')
    .replaceAll('&#39;', "'")
    .replaceAll('&amp;', '&');
}

/** The anchor that GitHub makes of a heading: lower case, punctuation dropped, spaces to hyphens, then a count. */
function uniqueSlug(heading: string, seen: Map<string, number>): string {
  const slug = heading
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{M}\p{N}\p{Pc} -]/gu, '')
    .replaceAll(' ', '-');
  const count = seen.get(slug) ?? 0;
  seen.set(slug, count + 1);
  return count === 0 ? slug : `${slug}-${count}`;
}
