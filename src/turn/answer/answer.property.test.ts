import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { newId } from '#base';
import type { ModelEvent } from '#backend';
import { noUsage, replay, textOf, type Item, type TurnEvent } from '#conversation';
import { Answer } from './answer.ts';

const modelEvents = fc.array(
  fc.oneof(
    fc.string({ maxLength: 8 }).map((text): ModelEvent => ({ type: 'text', text })),
    fc.string({ maxLength: 8 }).map((text): ModelEvent => ({ type: 'refusal', text })),
    fc.string({ maxLength: 8 }).map((text): ModelEvent => ({ type: 'reasoning', text })),
    fc
      .record({ index: fc.nat({ max: 2 }), text: fc.string({ maxLength: 8 }) })
      .map(({ index, text }): ModelEvent => ({ type: 'call', index, callId: `c${index}`, name: 'f', arguments: text })),
    fc.constant<ModelEvent>({ type: 'cited', source: 'a.md', title: 'A', start: 0, end: 1 }),
  ),
  { maxLength: 40 },
);

function play(events: readonly ModelEvent[]): { told: TurnEvent[]; answer: Answer } {
  const told: TurnEvent[] = [];
  const answer = new Answer((event) => void told.push(event));
  for (const event of events) void answer.add(event);
  void answer.close('completed');
  return { told, answer };
}

function piecesOf(item: Item): string {
  if (item.kind === 'reasoning') return item.text;
  if (item.kind === 'message') return textOf(item.content);
  return item.kind === 'call' ? item.arguments : '';
}

describe('Answer', () => {
  test('a compaction is told whole and stays, whatever is made anew after it; its events tell where it stands', () => {
    const told: TurnEvent[] = [];
    const answer = new Answer((event) => void told.push(event));
    const item = {
      kind: 'compaction',
      id: newId('compaction'),
      sealed: 'x',
      covers: null,
      status: 'completed',
    } as const;
    void answer.compact(item, { ...noUsage, inputTokens: 7 });
    expect(answer.begun).toBe(false);
    void answer.add({ type: 'text', text: 'Half an ans' });
    void answer.restart();
    void answer.add({ type: 'text', text: 'A whole one' });
    void answer.close('completed');
    expect(answer.items.map(({ kind }) => kind)).toEqual(['compaction', 'message']);
    const state = replay(told);
    expect(state.kept.map((placed) => placed.item)).toEqual(answer.items);
    expect(state).toMatchObject({ steps: 0, usage: { inputTokens: 7 }, nextIndex: 3 });
    const begun = replay(told.slice(0, 1));
    expect(new Answer(() => undefined, { from: begun })).toMatchObject({ begun: false, earlierItems: [item] });
  });

  test('each item is opened, told and closed before the next, and its pieces add up to it', () => {
    fc.assert(
      fc.property(modelEvents, (events) => {
        const { told, answer } = play(events);
        let open: string | undefined;
        let pieces = '';
        for (const event of told) {
          if (event.type === 'opened') {
            expect(open).toBeUndefined();
            open = event.item.id;
            pieces = '';
          } else if (event.type === 'closed') {
            expect(event.item.id).toBe(open);
            const { item } = event;
            const whole =
              item.kind === 'reasoning'
                ? item.text
                : item.kind === 'call'
                  ? item.arguments
                  : item.kind === 'message' && item.content[0]?.type !== 'image'
                    ? item.content[0]?.text
                    : '';
            expect(whole).toBe(pieces);
            open = undefined;
          } else if ('delta' in event) {
            expect(event.itemId).toBe(open);
            pieces += event.delta;
          }
        }
        expect(open).toBeUndefined();
        expect(told.filter((event) => event.type === 'closed').map((event) => event.item)).toEqual(answer.items);
      }),
    );
  });

  test('nothing that the model said is lost or doubled', () => {
    fc.assert(
      fc.property(modelEvents, (events) => {
        const { told } = play(events);
        const said = events.map((event) => ('text' in event ? event.text : '')).join('');
        const isText = (event: TurnEvent): boolean => ['text', 'refusal', 'reasoning'].includes(event.type);
        const heard = told.map((event) => (isText(event) && 'delta' in event ? event.delta : '')).join('');
        expect(heard).toBe(said);
        for (const index of [0, 1, 2]) {
          const asked = events.map((event) => (event.type === 'call' && event.index === index ? event.arguments : ''));
          const called = told.map((event) =>
            event.type === 'closed' && event.item.kind === 'call' && event.item.callId === `c${index}`
              ? event.item.arguments
              : '',
          );
          expect(called.join('')).toBe(asked.join(''));
        }
      }),
    );
  });

  test('parallel calls come one after the other, each whole, however the model’s server mixes their pieces', () => {
    const texts = fc.array(
      fc.jsonValue().map((value) => JSON.stringify({ value })),
      { minLength: 1, maxLength: 4 },
    );
    fc.assert(
      fc.property(texts, fc.infiniteStream(fc.nat()), (wanted, choices) => {
        const rest = wanted.map((text, index) => ({ index, text, begun: false }));
        const events: ModelEvent[] = [];
        while (rest.some(({ text }) => text !== '')) {
          const under = rest.filter(({ text }) => text !== '');
          const next = under[(choices.next().value ?? 0) % under.length]!;
          const piece = next.text.slice(0, 1 + ((choices.next().value ?? 0) % 5));
          const head = next.begun ? {} : { callId: `c${next.index}`, name: `f${next.index}` };
          events.push({ type: 'call', index: next.index, arguments: piece, ...head });
          next.text = next.text.slice(piece.length);
          next.begun = true;
        }
        const { answer } = play(events);
        const calls = answer.items.filter((item) => item.kind === 'call');
        expect(calls).toHaveLength(wanted.length);
        for (const { callId, name, arguments: text } of calls) {
          expect(name).toBe(callId.replace('c', 'f'));
          expect(text).toBe(wanted[Number(callId.slice(1))]);
        }
      }),
    );
  });

  test('another node finds in what was told all that had come, wherever it ends', () => {
    fc.assert(
      fc.property(modelEvents, fc.nat({ max: 80 }), (events, count) => {
        const told = play(events).told.slice(0, count);
        const answer = new Answer(() => undefined, { from: replay(told) });
        void answer.close('incomplete');
        const pieces = told.map((event) => ('delta' in event ? event.delta : '')).join('');
        expect(answer.items.map(piecesOf).join('')).toBe(pieces);
      }),
    );
  });

  test('what was told is counted once: for the model that was asked last', () => {
    const answer = new Answer(() => undefined, { toolOf: () => ({ source: 'http', asksFirst: false }) });
    void answer.add({ type: 'text', text: 'Let me book.' });
    void answer.add({ type: 'call', index: 0, callId: 'c', name: 'book', arguments: '{}' });
    expect(answer.characters).toBe(14);
    void answer.endStep({ usage: noUsage, backend: null });
    expect(answer.characters).toBe(0);
    void answer.add({ type: 'text', text: 'Boo' });
    void answer.resume();
    void answer.add({ type: 'text', text: 'ked.' });
    expect(answer.characters).toBe(4);
  });

  test('an answer cut short is closed as incomplete', () => {
    const told: TurnEvent[] = [];
    const answer = new Answer((event) => void told.push(event));
    void answer.add({ type: 'text', text: 'Hel' });
    void answer.close('incomplete');
    expect(told.at(-1)).toMatchObject({ type: 'closed', item: { status: 'incomplete', content: [{ text: 'Hel' }] } });
  });

  test('a piece with as many log probabilities as fit an event is taken as any other', () => {
    const answer = new Answer(() => undefined);
    void answer.add({ type: 'text', text: 'a' });
    void answer.add({ type: 'text', text: 'b', logprobs: Array.from({ length: 500_000 }, () => 0) });
    void answer.close('completed');
    expect(answer.items).toMatchObject([{ content: [{ text: 'ab' }] }]);
  });

  test('arguments in small pieces cost no more for the calls that wait for their end', () => {
    const answer = new Answer(() => undefined);
    const begin = (index: number, text: string): ModelEvent => ({
      type: 'call',
      index,
      callId: `c${index}`,
      name: 'f',
      arguments: text,
    });
    void answer.add(begin(0, '{"text":"'));
    void answer.add(begin(1, '{}'));
    for (let count = 0; count < 400_000; count += 1) void answer.add({ type: 'call', index: 0, arguments: '}a}' });
    void answer.add({ type: 'call', index: 0, arguments: '"}' });
    expect(answer.items).toHaveLength(1);
  });
});
