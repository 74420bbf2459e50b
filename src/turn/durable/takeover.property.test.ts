import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { newId } from '#base';
import type { ModelEvent } from '#backend';
import { noUsage, replay, retell, textOf, writeFound, type Item, type TurnEvent } from '#conversation';
import { Answer, type AnswerOptions } from '../answer/answer.ts';
import type { OwnTool } from '../answer/open-item.ts';
import type { PendingTool } from '../answer/told-items.ts';

/*
 * Answers with every kind of item, as `answerTurn` has them made, cut off after every event of theirs
 * and gone on with from what was told.
 */

const tools: Readonly<Record<string, OwnTool>> = {
  book: { source: 'http', asksFirst: false },
  pay: { source: 'http', asksFirst: true },
  file_search: { source: 'knowledge', asksFirst: false },
};
const passage = { source: 'a.md', title: 'A', text: 'Row seven.' };
const options: AnswerOptions = {
  toolOf: (name) => tools[name],
  sources: [passage],
  seal: (text) => `sealed ${text}`,
};
const compaction = {
  kind: 'compaction',
  id: newId('compaction'),
  sealed: 'x',
  covers: null,
  status: 'completed',
} as const;
const requests = [3, 4].map((sum) => ({
  kind: 'approval-request' as const,
  id: newId('approvalRequest'),
  callId: 'before',
  source: 'http',
  name: 'pay',
  arguments: `{"sum":${sum}}`,
  status: 'completed' as const,
}));

interface Script {
  readonly isCompacted: boolean;
  readonly approvals: number;
  /** What the model says each time that it is asked; of the last nothing is called that Usher runs. */
  readonly steps: readonly (readonly ModelEvent[])[];
}

const piece = fc.constantFrom('Row ', 'seven', ' [1]', ' [', '1', ']', '`', '\n', ' so [2] it');
const said = (type: 'text' | 'refusal' | 'reasoning') => piece.map((text): ModelEvent => ({ type, text }));
const withLogprobs = piece.map((text): ModelEvent => ({ type: 'text', text, logprobs: [{ token: text }] }));
const cited = fc.constant<ModelEvent>({ type: 'cited', source: 'b.md', title: 'B', start: 0, end: 1 });
const calls = (names: readonly string[]) =>
  fc
    .record({
      name: fc.constantFrom(...names),
      index: fc.nat({ max: 3 }),
      text: fc.constantFrom('{}', '{"a"', ':1}', 'x'),
    })
    .map(({ name, index, text }): ModelEvent => {
      const call = { type: 'call', index, callId: `c${index}`, name, arguments: text } as const;
      return name === 'write' ? Object.assign(call, { custom: true as const }) : call;
    });
const anyEvent = (names: readonly string[]) =>
  fc.oneof(said('text'), said('refusal'), said('reasoning'), withLogprobs, cited, calls(names));
const script: fc.Arbitrary<Script> = fc.record({
  isCompacted: fc.boolean(),
  approvals: fc.nat({ max: 2 }),
  steps: fc
    .tuple(
      fc.array(fc.array(anyEvent(['book', 'file_search', 'seats', 'write']), { minLength: 1, maxLength: 8 }), {
        maxLength: 2,
      }),
      fc.array(anyEvent(['seats', 'write', 'pay']), { maxLength: 8 }),
    )
    .map(([first, last]) => first.concat([last])),
});

/** Makes the rest of the answer, as the node does that holds its turn. */
function play(script: Script, told: TurnEvent[], answer: Answer, goesOn = false): void {
  const from = replay(told);
  const firstSteps = script.approvals > 0 ? 1 : 0;
  let { steps, isStepOver } = from;
  if (script.isCompacted && from.nextIndex === 0) void answer.compact(compaction, { ...noUsage, inputTokens: 7 });
  if (steps === 0 && firstSteps === 1) {
    for (const request of requests.slice(0, script.approvals)) void answer.callApproved(request);
    void answer.endStep({ usage: noUsage, backend: null });
    steps = 1;
    isStepOver = true;
  }
  for (;;) {
    if (isStepOver) {
      for (const pending of answer.pending) run(answer, pending);
      if (answer.items.some(({ kind }) => kind === 'call' || kind === 'approval-request')) break;
    }
    isStepOver = true;
    const events = script.steps[steps - firstSteps];
    if (events === undefined) break;
    say(answer, events, goesOn);
    if (!answer.callsTool) break;
    void answer.endStep({ usage: { ...noUsage, outputTokens: 5 }, backend: 'one' });
    steps += 1;
  }
  void answer.close('completed');
}

function say(answer: Answer, events: readonly ModelEvent[], goesOn: boolean): void {
  const { prefix } = answer;
  // What a model thinks again, or only then, is left out.
  const isPlain = /^(reasoning )*(text )*$/.test(events.map(({ type }) => `${type} `).join(''));
  if (goesOn && prefix !== undefined && isPlain) {
    void answer.resume();
    let left = prefix.length;
    for (const event of events) {
      if (event.type !== 'text') void answer.add(event);
      else if (left < event.text.length) {
        void answer.add({ ...event, text: event.text.slice(left) });
        left = 0;
      } else left -= event.text.length;
    }
    return;
  }
  if (answer.begun) void answer.restart();
  for (const event of events) void answer.add(event);
}

function run(answer: Answer, pending: PendingTool): void {
  if (!pending.acting) void answer.act(pending);
  const { name, source, title, text } = { ...passage, name: pending.item.name };
  const found = writeFound([{ number: 2, source, title, text, score: 1 }]);
  void answer.settle(pending, { output: name === 'file_search' ? found : 'done', error: null });
}

function begin(told: TurnEvent[]): Answer {
  return new Answer((event) => void told.push(event), { ...options, from: replay(told) });
}

/** Wherever the events of an answer may end: those of what is called first become durable together. */
function cutsOf(script: Script, whole: readonly TurnEvent[]): readonly number[] {
  const from = script.isCompacted ? 1 : 0;
  const to = script.approvals > 0 ? whole.findIndex(({ type }) => type === 'stepped') : from;
  return Array.from({ length: whole.length + 1 }, (_, count) => count).filter((count) => count <= from || count > to);
}

/** What a listener of any wire relies on. */
function expectOrder(told: readonly TurnEvent[]): void {
  const open = new Map<number, { readonly id: string; isCalled: boolean }>();
  let next = 0;
  let writing: number | undefined;
  for (const event of told) {
    switch (event.type) {
      case 'opened':
        expect(event.index).toBeGreaterThanOrEqual(next);
        expect(writing).toBeUndefined();
        next = event.index + 1;
        writing = event.index;
        open.set(event.index, { id: event.item.id, isCalled: false });
        break;
      case 'text':
      case 'refusal':
      case 'reasoning':
      case 'cited':
      case 'arguments':
        expect(event.index).toBe(writing);
        expect(open.get(event.index)?.id).toBe(event.itemId);
        break;
      case 'called':
        expect(open.get(event.index)?.id).toBe(event.item.id);
        open.get(event.index)!.isCalled = true;
        writing = undefined;
        break;
      case 'acting':
        expect(open.get(event.index)?.isCalled).toBe(true);
        break;
      case 'compacted':
        expect(event.index).toBeGreaterThanOrEqual(next);
        next = event.index + 1;
        break;
      case 'closed':
        if (event.item.kind === 'approval-request') {
          expect(event.index).toBeGreaterThanOrEqual(next);
          next = event.index + 1;
          break;
        }
        expect(open.get(event.index)?.id).toBe(event.item.id);
        open.delete(event.index);
        if (writing === event.index) writing = undefined;
        break;
    }
  }
  // Whatever began has ended: clients wait for the rest of what did not.
  expect([...open.keys()]).toEqual([]);
}

/** Its items alone tell the answer again: each is made of its pieces, as far as these are its content. */
function expectRetold(items: readonly Item[]): void {
  const told = retell(items);
  expectOrder(told);
  expect(replay(told).kept.map(({ item }) => item)).toEqual(items);
  for (const [place, event] of told.entries()) {
    if (event.type !== 'closed' || event.item.kind === 'approval-request') continue;
    const { open, pending } = replay(told.slice(0, place));
    const made = open?.item ?? pending[0]?.item;
    if (event.item.kind === 'message') expect(made).toMatchObject({ content: event.item.content });
    if (event.item.kind === 'reasoning') expect(made).toMatchObject({ text: event.item.text });
    if ('arguments' in event.item) expect(made).toMatchObject({ arguments: event.item.arguments });
  }
}

/** An answer without the names that are given anew each time. */
function contentOf(items: readonly Item[]): unknown {
  return items.map(({ id: _id, ...rest }) => rest);
}

describe('an answer of items of every kind that another node goes on with', () => {
  test('stands in what was told as it stands at its node', () => {
    fc.assert(
      fc.property(script, (script) => {
        const told: TurnEvent[] = [];
        const answer = begin(told);
        play(script, told, answer);
        expectOrder(told);
        const { kept, pending, usage, open } = replay(told);
        expect(kept.map(({ item }) => item)).toEqual(answer.items);
        expectRetold(answer.items);
        expect(begin(told).earlierItems).toEqual(answer.earlierItems);
        expect([open, pending]).toEqual([undefined, []]);
        expect(usage.inputTokens).toBe(script.isCompacted ? 7 : 0);
      }),
    );
  });

  test.each([
    ['is made anew', false],
    ['is gone on with where it breaks off', true],
  ])('%s: wherever it was cut, twice, nothing is lost, told twice or left open', (_name, goesOn) => {
    fc.assert(
      fc.property(script, fc.nat({ max: 60 }), (script, again) => {
        const whole: TurnEvent[] = [];
        const answer = begin(whole);
        play(script, whole, answer);
        for (const count of cutsOf(script, whole)) {
          const told = whole.slice(0, count);
          play(script, told, begin(told), goesOn);
          const cut = told.slice(0, cutsOf(script, told).find((at) => at >= count + again) ?? told.length);
          const last = begin(cut);
          play(script, cut, last, goesOn);
          expectOrder(cut);
          expect(contentOf(last.items), `after ${count}`).toEqual(contentOf(answer.items));
          expect(replay(cut).kept.map(({ item }) => item)).toEqual(last.items);
        }
      }),
      { numRuns: 60 },
    );
  });

  test('is closed as it is where it ends there, and what was whole stays whole', () => {
    fc.assert(
      fc.property(script, (script) => {
        const whole: TurnEvent[] = [];
        play(script, whole, begin(whole));
        for (let count = 0; count <= whole.length; count += 1) {
          const told = whole.slice(0, count);
          const last = begin(told);
          void last.close('incomplete');
          expectOrder(told);
          const { kept, open, pending } = replay(told);
          expect(kept.map(({ item }) => item)).toEqual(last.items);
          expectRetold(last.items);
          expect([open, pending]).toEqual([undefined, []]);
          const closed = whole.slice(0, count).filter((event) => event.type === 'closed');
          const states = new Map(closed.map(({ item }) => [item.id, item.status]));
          for (const { id, kind, status } of last.items) {
            if (kind !== 'compaction') expect(status).toBe(states.get(id) ?? 'incomplete');
          }
        }
      }),
    );
  });

  test('has each word once', () => {
    const told: TurnEvent[] = [];
    const answer = begin(told);
    void answer.add({ type: 'reasoning', text: 'Look.' });
    void answer.add({ type: 'text', text: 'Row ' });
    const next = begin(told);
    void next.resume();
    void next.add({ type: 'text', text: 'seven' });
    void next.close('completed');
    const words = next.items.map((item) => (item.kind === 'message' ? textOf(item.content) : item.kind));
    expect(words).toEqual(['reasoning', 'Row seven']);
  });
});
