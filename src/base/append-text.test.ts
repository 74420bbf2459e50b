import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { appendText } from './append-text.ts';

test('a text is the sum of its pieces', () => {
  fc.assert(
    fc.property(fc.array(fc.string({ maxLength: 300 })), (pieces) => {
      expect(pieces.reduce((text, piece) => appendText(text, piece), '')).toBe(pieces.join(''));
    }),
  );
});

test('texts that grow token by token hold less than half of what they would as joints of pieces', () => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const tokens = Array.from({ length: 600 }, (_, at) => ` tok${at}`);
  const characters = tokens.join('').length;
  const held = (append: (text: string, piece: string) => string): number => {
    collect();
    const before = process.memoryUsage().heapUsed;
    const texts = Array.from({ length: 2000 }, () => tokens.reduce(append, ''));
    collect();
    return (process.memoryUsage().heapUsed - before) / (texts.length * characters);
  };
  const joined = held((text, piece) => text + piece);
  expect(held((text, piece) => appendText(text, piece))).toBeLessThan(joined / 2);
});
