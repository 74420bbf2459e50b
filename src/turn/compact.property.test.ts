import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { newId } from '#base';
import type { Item, MessageItem, Role } from '#conversation';
import { writeTranscript } from './ask-summary.ts';
import { cutPast, standingOf } from './compact.ts';
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

describe('what is summarised', () => {
  test('fits its room whatever was said, and is well-formed', () => {
    fc.assert(
      fc.property(
        items,
        fc.option(text, { nil: undefined }),
        fc.integer({ min: 200, max: 2000 }),
        (said, earlier, room) => {
          const written = writeTranscript(earlier, said, room);
          expect(written.isWellFormed()).toBe(true);
          expect(estimateTokens(written)).toBeLessThanOrEqual(Math.max(room, estimateTokens(earlier ?? '')) + 40);
        },
      ),
    );
  });

  test('is the newest where not all has room, and one long item takes no more than its part', () => {
    const said = [message('user', 'The first word.'), result('r'.repeat(4000)), message('user', 'The last word.')];
    const written = writeTranscript('She is Ophelia.', said, 400);
    expect(written).toContain('Earlier summary:\nShe is Ophelia.');
    expect(written).toContain('Person: The first word.');
    expect(written).toContain('Person: The last word.');
    expect(written.length).toBeLessThan(500);
    const many = Array.from({ length: 100 }, (_, nth) => message('user', `Word ${nth}.`));
    expect(writeTranscript(undefined, many, 100)).toContain('Word 99.');
    expect(writeTranscript(undefined, many, 100)).not.toContain('Word 1.');
  });
});
