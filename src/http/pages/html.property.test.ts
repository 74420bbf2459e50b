import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { html } from './html.ts';

/** What the entities stand for, as a browser reads them. */
const entities: Readonly<Record<string, string>> = {
  '&amp;': '&',
  '&lt;': '<',
  '&gt;': '>',
  '&quot;': '"',
  '&#39;': "'",
};

test('text that is put into a page neither opens a tag nor ends an attribute, and is read as it was written', () => {
  const anyText = fc.oneof(fc.string({ unit: 'binary' }), fc.stringMatching(/^[<>"'&;a-z#0-9 ]*$/));
  fc.assert(
    fc.property(anyText, (text) => {
      const inside = html`${text}`.markup;
      expect(inside).not.toMatch(/[<>"']/);
      expect(inside.replaceAll(/&(?:amp|lt|gt|quot|#39);/g, (entity) => entities[entity] ?? '')).toBe(text);
      expect(html`<p title="${text}">${[html`<b>${text}</b>`]}</p>`.markup).toBe(
        `<p title="${inside}"><b>${inside}</b></p>`,
      );
    }),
  );
});
