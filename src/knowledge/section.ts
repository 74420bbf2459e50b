import type { Passage } from '#release';
import { packBlocks, type Block } from './pack-blocks.ts';

/** A heading of a document and what stands under it, before its next heading. */
export interface Section {
  /** 0 for what stands before the first heading. */
  readonly level: number;
  readonly heading: string;
  /** What addresses the heading within the document; undefined for its top. */
  readonly anchor: string | undefined;
  readonly blocks: readonly Block[];
}

/** Between the parts of a title: `Guide › First run › Ports`. */
export const trailMark = ' › ';

/** A longer heading is a paragraph that was marked up as one; its passages would carry it all. */
const headingCharactersMax = 200;

/** Passages of a document; each title says the way down to it, so that a passage can be read alone. */
export function passagesOfSections(path: string, documentTitle: string, sections: readonly Section[]): Passage[] {
  const trail: { level: number; heading: string }[] = [];
  return sections.flatMap((section) => {
    while (trail.length > 0 && trail.at(-1)!.level >= section.level) trail.pop();
    if (section.heading !== '')
      trail.push({ level: section.level, heading: section.heading.slice(0, headingCharactersMax) });
    const headings = trail.map((step) => step.heading);
    if (headings[0] !== documentTitle) headings.unshift(documentTitle);
    const source = section.anchor === undefined ? path : `${path}#${section.anchor}`;
    return packBlocks(section.blocks).map((text) => ({ source, title: headings.join(trailMark), text }));
  });
}

/** `knowledge/price-list_2026.txt` -> `price list 2026`: the title of a document that has none. */
export function titleOfPath(path: string): string {
  const base = path.slice(path.lastIndexOf('/') + 1);
  return (
    base
      .replace(/\.[^.]+$/u, '')
      .replaceAll(/[-_]+/gu, ' ')
      .trim() || base
  );
}

/** Text without what no reader sees: control characters, zero-width ones, soft hyphens. */
export function cleanText(text: string): string {
  return text.replaceAll(/[^\P{Cc}\n\t]|[\u{ad}\u{200b}\u{2060}\u{feff}]/gu, '');
}
