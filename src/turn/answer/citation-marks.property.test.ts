import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { replay, type TurnEvent } from '#conversation';
import { Answer } from './answer.ts';
import { MarkScanner, type CitationMark } from './citation-marks.ts';

const text = fc
  .array(
    fc.constantFrom('[', ']', '1', '2', '0', '12', '[1]', '[2]', '[27]', '`', '```', '\n', '\n\n', ' ', 'a', 'é', '🎭'),
    {
      maxLength: 40,
    },
  )
  .map((parts) => parts.join(''));
const cuts = fc.array(fc.nat({ max: 80 }), { maxLength: 20 });

/** Pieces that may be empty, and may part the halves of a surrogate pair, as pieces of a stream may. */
function split(whole: string, at: readonly number[]): string[] {
  const places = [
    0,
    ...at.filter((place) => place <= whole.length).toSorted((one, other) => one - other),
    whole.length,
  ];
  return places.slice(1).map((end, index) => whole.slice(places[index], end));
}

function scan(pieces: readonly string[]): readonly CitationMark[] {
  const scanner = new MarkScanner();
  return pieces.flatMap((piece) => scanner.add(piece));
}

test('however a text is cut, the same marks are found, and where they stand', () => {
  fc.assert(
    fc.property(text, cuts, (whole, at) => {
      const marks = scan([whole]);
      expect(scan(split(whole, at))).toEqual(marks);
      expect(scan(whole.split(''))).toEqual(marks);
      for (const { number, start, end } of marks) expect(whole.slice(start, end)).toBe(`[${number}]`);
    }),
  );
});

test('without code, marks are what a pattern finds', () => {
  fc.assert(
    fc.property(
      text.map((whole) => whole.replaceAll('`', '')),
      (whole) => {
        const found = [...whole.matchAll(/\[([1-9]\d{0,2})\]/gu)];
        expect(scan([whole]).map(({ number, start }) => [number, start])).toEqual(
          found.map((match) => [Number(match[1]), match.index]),
        );
      },
    ),
  );
});

const sources = [
  { source: 'a.md', title: 'A', text: 'a' },
  { source: 'b.md', title: 'B', text: 'b' },
];

test('an answer cites the same passages however its text is cut, changes none of it, and begins anew with its marks', () => {
  fc.assert(
    fc.property(text, cuts, fc.nat({ max: 20 }), (whole, at, restartAt) => {
      const told: TurnEvent[] = [];
      const tell = (event: TurnEvent): void => void told.push(event);
      let answer = new Answer(tell, { sources });
      for (const [index, piece] of split(whole, at).entries()) {
        if (index === restartAt) {
          answer = new Answer(tell, { sources, from: replay(told) });
          void answer.resume();
        }
        void answer.add({ type: 'text', text: piece });
      }
      void answer.close('completed');
      const content = answer.items.flatMap((item) => (item.kind === 'message' ? item.content : []));
      const expected = scan([whole]).filter(({ number }) => number <= 2);
      expect(content.map((part) => (part.type === 'text' ? part.text : '')).join('')).toBe(whole);
      expect(content.flatMap((part) => (part.type === 'text' ? (part.citations ?? []) : []))).toEqual(
        expected.map(({ number, start, end }) => Object.assign(passageAt(number), { start, end })),
      );
    }),
  );
});

function passageAt(number: number): { readonly source: string; readonly title: string } {
  const { source, title } = sources[number - 1]!;
  return { source, title };
}
