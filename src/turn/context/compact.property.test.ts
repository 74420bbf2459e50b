import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { newId } from '#base';
import type { Item, MessageItem, Role } from '#conversation';
import { partsOf, writeTranscript } from './ask-summary.ts';
import { cutPast, standingOf, toBringBack } from './compact.ts';
import { tokensOf } from './compose-prompt.ts';
import { estimateTokens } from './tokens.ts';

const message = (role: Role, text: string): MessageItem => ({
  kind: 'message',
  id: newId('message'),
  role,
  content: [{ type: 'text', text }],
  status: 'completed',
});
const result = (output: string): Item => ({
  kind: 'result',
  id: newId('result'),
  callId: 'c',
  output,
  status: 'completed',
});
const text = fc.string({ unit: 'grapheme', maxLength: 300 });
const items = fc.array(
  fc.oneof(
    text.map((said) => message('user', said)),
    text.map((said) => message('assistant', said)),
    text.map(result),
  ),
  { maxLength: 40 },
);

describe('where the older part of a conversation ends', () => {
  test('nothing is lost, what is kept begins with a person and fits, and no more exchanges would', () => {
    fc.assert(
      fc.property(items, fc.integer({ min: 10, max: 3000 }), (past, threshold) => {
        const { covered, kept } = cutPast(past, threshold);
        expect([...covered, ...kept]).toEqual(past);
        expect(tokensOf(kept)).toBeLessThanOrEqual(threshold * 0.3);
        if (kept.length > 0) expect(kept[0]).toMatchObject({ kind: 'message', role: 'user' });
        const next = covered.findLastIndex((item) => item.kind === 'message' && item.role === 'user');
        if (next >= 0) expect(tokensOf(past.slice(next))).toBeGreaterThan(threshold * 0.3);
      }),
    );
  });
});

describe('instructions of the application that are covered', () => {
  test('hold on, each once, the newest where not all have room', () => {
    const covered = [message('developer', 'Be brief.'), message('user', 'x'), message('system', 'Be kind.')];
    const summary = { text: '', standing: ['Be kind.', 'Be exact.'], recent: [] };
    expect(standingOf({ summary }, covered, 1000)).toEqual(['Be exact.', 'Be brief.', 'Be kind.']);
    expect(standingOf({ summary }, covered, 50)).toEqual(['Be brief.', 'Be kind.']);
    expect(standingOf({ summary: undefined }, [], 1000)).toEqual([]);
  });
});

test('what a caller may bring back holds no request for approval, and of large images the newest', () => {
  const picture = (letter: string): Item => ({
    ...message('user', ''),
    content: [{ type: 'image', url: `data:image/png;base64,${letter.repeat(700_000)}` }],
  });
  const request: Item = {
    kind: 'approval-request',
    id: newId('approvalRequest'),
    callId: 'c',
    source: 'book',
    name: 'book',
    arguments: '{}',
    status: 'completed',
  };
  const [older, newer, ...rest] = toBringBack([picture('a'), request, picture('b')]);
  expect(rest).toEqual([]);
  expect(older).toMatchObject({ content: [{ type: 'text', text: '[an image]' }] });
  expect(newer).toMatchObject({ content: [{ type: 'image' }] });
});

describe('what is summarised', () => {
  test('comes in parts that fit their room whatever was said, well-formed', () => {
    fc.assert(
      fc.property(items, fc.integer({ min: 50, max: 2000 }), (said, room) => {
        const parts = partsOf(said, room);
        expect(parts.length).toBeGreaterThan(0);
        expect(parts.length).toBeLessThanOrEqual(5);
        for (const part of parts) {
          expect(part.isWellFormed()).toBe(true);
          expect(estimateTokens(part)).toBeLessThanOrEqual(room);
        }
      }),
    );
  });

  test('is all of it in its order, and of what is far too much the newest', () => {
    const many = Array.from({ length: 60 }, (_, nth) => message('user', `Word ${nth}.`));
    const words = (parts: readonly string[]): string[] =>
      [...parts.join('').matchAll(/Word \d+/g)].map(([word]) => word);
    const all = many.map((_, nth) => `Word ${nth}`);
    expect(partsOf(many, 1000)).toHaveLength(1);
    expect(words(partsOf(many, 1000))).toEqual(all);
    expect(partsOf(many, 100).length).toBeGreaterThan(1);
    expect(words(partsOf(many, 100))).toEqual(all);
    const newest = words(partsOf(many, 48));
    expect(newest.length).toBeLessThan(60);
    expect(newest).toEqual(all.slice(-newest.length));
  });

  test('holds the earlier summary, and of one long item no more than its part', () => {
    const said = [message('user', 'The first word.'), result('r'.repeat(4000)), message('user', 'The last word.')];
    const parts = partsOf(said, 400);
    expect(parts).toHaveLength(1);
    expect(parts[0]!.length).toBeLessThan(300);
    const written = writeTranscript('She is Ophelia.', parts[0]!);
    expect(written).toContain('Earlier summary:\nShe is Ophelia.');
    expect(written).toMatch(/Person: The first word\.[^]*Person: The last word\./);
  });
});
