import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { ModelEvent } from '#backend';
import type { TurnEvent } from '#conversation';
import { Answer } from './answer.ts';

const modelEvents = fc.array(
  fc.oneof(
    fc.string({ maxLength: 8 }).map((text): ModelEvent => ({ type: 'text', text })),
    fc.string({ maxLength: 8 }).map((text): ModelEvent => ({ type: 'refusal', text })),
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

describe('Answer', () => {
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
              item.kind === 'call'
                ? item.arguments
                : item.kind === 'message' && item.content[0]?.type !== 'image'
                  ? item.content[0]?.text
                  : '';
            expect(whole).toBe(pieces);
            open = undefined;
          } else if (event.type === 'text' || event.type === 'refusal' || event.type === 'arguments') {
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
        const said = events
          .map((event) =>
            event.type === 'text' || event.type === 'refusal'
              ? event.text
              : event.type === 'call'
                ? event.arguments
                : '',
          )
          .join('');
        const heard = told.map((event) => ('delta' in event ? event.delta : '')).join('');
        expect(heard).toBe(said);
      }),
    );
  });

  test('an answer cut short is closed as incomplete', () => {
    const told: TurnEvent[] = [];
    const answer = new Answer((event) => void told.push(event));
    void answer.add({ type: 'text', text: 'Hel' });
    void answer.close('incomplete');
    expect(told.at(-1)).toMatchObject({ type: 'closed', item: { status: 'incomplete', content: [{ text: 'Hel' }] } });
  });
});
