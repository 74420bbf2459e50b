import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { JsonEnd } from './json-end.ts';

const values = fc.jsonValue().map((value) => JSON.stringify({ value }, undefined, 1));

test('the end of a value is found where it stands, and nowhere before, however the text is cut', () => {
  fc.assert(
    fc.property(values, fc.infiniteStream(fc.integer({ min: 1, max: 5 })), (text, lengths) => {
      const end = new JsonEnd();
      for (let at = 0; at < text.length;) {
        expect(end.isReached).toBe(false);
        const length = lengths.next().value ?? 1;
        end.add(text.slice(at, at + length));
        at += length;
      }
      expect(end.isReached).toBe(true);
      end.add(' \n');
      expect(end.isReached).toBe(true);
      end.add('{}');
      expect(end.isReached).toBe(false);
    }),
  );
});

test.each(['', ' ', '12', 'true', '"a"', '}', 'x{}', '{}{}', '{} {', '{}}'])('%j is not one whole value', (text) => {
  const end = new JsonEnd();
  end.add(text);
  expect(end.isReached).toBe(false);
});
