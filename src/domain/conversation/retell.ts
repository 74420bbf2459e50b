import type { ContentPart, Item, MessageItem, ToolItem } from './item.ts';
import { noUsage } from './replay.ts';
import type { TurnEvent } from './turn-event.ts';

/**
 * Tells an answer's items as they stand, for a turn whose own events are not kept any more: each in
 * one piece, places from 0. Read back by `replay`, they are the same items. Pure.
 */
export function retell(items: readonly Item[]): readonly TurnEvent[] {
  return items.flatMap(retold);
}

function retold(item: Item, index: number): readonly TurnEvent[] {
  const closed = { type: 'closed', index, item } as const;
  switch (item.kind) {
    case 'message': {
      const content = item.content.map(emptied);
      return [{ type: 'opened', index, item: { ...item, content } }, ...pieces(item, index), closed];
    }
    case 'reasoning': {
      const opened = { type: 'opened', index, item: { ...item, text: '' } } as const;
      return [opened, { type: 'reasoning', index, itemId: item.id, delta: item.text }, closed];
    }
    case 'call': {
      const opened = { type: 'opened', index, item: { ...item, arguments: '' } } as const;
      return [opened, { type: 'arguments', index, itemId: item.id, delta: item.arguments }, closed];
    }
    case 'tool': {
      const begun: ToolItem = { ...item, arguments: '', output: null, error: null, status: 'incomplete' };
      const piece = { type: 'arguments', index, itemId: item.id, delta: item.arguments } as const;
      return [{ type: 'opened', index, item: begun }, piece, ...run(item, index), closed];
    }
    case 'compaction':
      // What it spent is counted at the end of its turn.
      return [{ type: 'compacted', index, item, usage: noUsage }];
    case 'approval-request':
      return [closed];
    case 'approval':
    case 'result':
      // Callers say these; no answer holds them.
      return [];
  }
}

function emptied(part: ContentPart): ContentPart {
  return part.type === 'refusal' ? { type: 'refusal', text: '' } : { type: 'text', text: '' };
}

function pieces({ id, content }: MessageItem, index: number): readonly TurnEvent[] {
  return content.flatMap((part): readonly TurnEvent[] => {
    if (part.type === 'refusal') return [{ type: 'refusal', index, itemId: id, delta: part.text }];
    if (part.type !== 'text') return [];
    const { text, citations = [], logprobs } = part;
    const told: TurnEvent = { type: 'text', index, itemId: id, delta: text, ...(logprobs && { logprobs }) };
    return [told, ...citations.map((citation) => ({ type: 'cited', index, itemId: id, citation }) as const)];
  });
}

/** A call that was not cut short was run. */
function run(item: ToolItem, index: number): readonly TurnEvent[] {
  if (item.status !== 'completed') return [];
  const called: ToolItem = { ...item, output: null, error: null };
  return [
    { type: 'called', index, item: called },
    { type: 'acting', index, itemId: item.id },
  ];
}
