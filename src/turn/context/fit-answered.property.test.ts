import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { newId } from '#base';
import { searchFound, writeFound, type Item, type ToolItem } from '#conversation';
import { cutOutput } from './cut-output.ts';
import { fitAnswered } from './fit-answered.ts';
import { estimateFreshTokens, estimateTokens } from './tokens.ts';

const tool = (output: string): ToolItem => ({
  kind: 'tool',
  id: newId('tool'),
  callId: 'call_1',
  source: 'shop',
  name: 'look',
  arguments: '{}',
  output,
  error: null,
  status: 'completed',
});

const outputs = fc.array(
  fc.tuple(fc.constantFrom('a', 'é', '漢', '🙂'), fc.nat({ max: 6000 })).map(([letter, times]) => letter.repeat(times)),
  { minLength: 1, maxLength: 12 },
);
const contexts = fc.record({
  budgetTokens: fc.integer({ min: 1000, max: 20_000 }),
  fixedTokens: fc.nat({ max: 400 }),
  historyTokens: fc.nat({ max: 30_000 }),
});

describe('what a turn has learnt', () => {
  test('fits beside instructions and question, and leaves half of the rest to a history that wants it', () => {
    fc.assert(
      fc.property(outputs, contexts, (texts, context) => {
        const items = texts.map(tool);
        const fitted = fitAnswered(items, context);
        expect(fitted.tokens).toBe(estimateFreshTokens(fitted.items));
        expect(fitted.roomTokens).toBeGreaterThanOrEqual(fitted.tokens);
        const leftTokens = context.budgetTokens - context.fixedTokens;
        const mostTokens = leftTokens - Math.min(context.historyTokens, leftTokens / 2);
        if (estimateFreshTokens(items) <= mostTokens) expect(fitted.items).toBe(items);
        // Twelve outputs of the least length and their frames may be more than a small context has.
        else if (mostTokens > 12 * 80) expect(fitted.tokens).toBeLessThanOrEqual(mostTokens);
      }),
    );
  });

  test('grows with further calls in a few steps only: the history beside it stays the same between them', () => {
    const context = { budgetTokens: 8000, fixedTokens: 500, historyTokens: 20_000 };
    const rooms = new Set<number>();
    const cuts = new Set<number>();
    for (let calls = 1; calls <= 24; calls += 1) {
      const fitted = fitAnswered(
        Array.from({ length: calls }, () => tool('a'.repeat(2000))),
        context,
      );
      rooms.add(fitted.roomTokens);
      const [first] = fitted.items as readonly ToolItem[];
      cuts.add(first?.output?.length ?? 0);
    }
    expect(rooms.size).toBeLessThanOrEqual(5);
    expect(cuts.size).toBeLessThanOrEqual(3);
  });
});

describe('where outputs are not what is too long', () => {
  const thought = (tokens: number): Item => ({
    kind: 'reasoning',
    id: newId('reasoning'),
    text: 't'.repeat(tokens * 4),
    status: 'completed',
  });
  const outputs = [tool('o'.repeat(4000)), tool('o'.repeat(4000))];

  test('earlier thoughts go before an output is cut, the last one only where it takes half itself', () => {
    const context = { budgetTokens: 8000, fixedTokens: 100, historyTokens: 8000 };
    const [first, second, third] = [thought(2000), thought(1000), thought(9000)];
    expect(fitAnswered([first, outputs[0]!, second, outputs[1]!], context).items).toEqual([
      outputs[0],
      second,
      outputs[1],
    ]);
    const fitted = fitAnswered([third, ...outputs], context);
    expect(fitted).toMatchObject({ items: outputs, isCut: true });
  });

  test('outputs keep their share beside calls that are too long themselves', () => {
    const context = { budgetTokens: 8000, fixedTokens: 100, historyTokens: 0 };
    const call: ToolItem = { ...tool('o'.repeat(8000)), arguments: 'a'.repeat(40_000) };
    const [item] = fitAnswered([call], context).items as readonly ToolItem[];
    expect(item?.output?.length).toBeGreaterThan(3000);
  });

  test('what a tool says of its failure is cut as well', () => {
    const failed: ToolItem = { ...tool(''), output: null, error: 'e'.repeat(65_536) };
    const cut = cutOutput(failed, 500) as ToolItem;
    expect(cut.output).toBeNull();
    expect(estimateTokens(cut.error ?? '')).toBeLessThanOrEqual(500);
  });
});

describe('an output that is cut', () => {
  test('is no longer than allowed, is the beginning of the whole, and holds no half of a character', () => {
    fc.assert(
      fc.property(outputs, fc.integer({ min: 32, max: 2000 }), ([text = ''], tokensMax) => {
        const cut = cutOutput(tool(text), tokensMax) as ToolItem;
        expect(estimateTokens(cut.output ?? '')).toBeLessThanOrEqual(tokensMax);
        if (estimateTokens(text) <= tokensMax) {
          expect(cut.output).toBe(text);
          return;
        }
        const [kept = '', rest] = cut.output?.split('\n[') ?? [];
        expect(text.startsWith(kept)).toBe(true);
        expect(rest).toBe('The rest does not fit the context and was left out.]');
        expect(cutOutput(cut, tokensMax)).toBe(cut);
      }),
    );
  });

  test('of a search holds whole passages, the best of them in any case', () => {
    const passage = (number: number, length: number) => ({
      number,
      source: 'hours.md',
      title: 'Hours',
      text: 'a'.repeat(length),
      score: 1 / number,
    });
    const search = (lengths: readonly number[]): ToolItem => ({
      ...tool(writeFound(lengths.map((length, at) => passage(at + 1, length)))),
      id: newId('search'),
    });
    const found = (item: ToolItem) => searchFound(cutOutput(item, 200) as ToolItem)?.map(({ text }) => text.length);
    expect(found(search([300, 200, 300]))).toEqual([300, 200]);
    expect(found(search([40]))).toEqual([40]);
    const [best = 0] = found(search([4000, 4000])) ?? [];
    expect(best).toBeGreaterThan(400);
    expect(best).toBeLessThan(800);
  });
});
