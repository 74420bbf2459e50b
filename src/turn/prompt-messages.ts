import type { PromptMessage, PromptPart } from '#backend';
import { textOf, type CallItem, type Item, type MessageItem, type ToolItem } from '#conversation';
import type { Passage } from '#release';

type AssistantMessage = Extract<PromptMessage, { role: 'assistant' }>;

/** What stands before all items. */
export interface PromptHead {
  readonly system: string;
  /** Of what was said before the items; the same to the letter until the next one is made. */
  readonly summary: string | undefined;
}

/** Of messages that follow others. */
export const noHead: PromptHead = { system: '', summary: undefined };

/**
 * Items as chat messages. Instructions come first and never change within a release, so that
 * backends' prompt caches hold; passages go with the last question, where they are needed, since
 * several chat templates refuse a system message in the middle.
 */
export function promptMessages(
  { system, summary }: PromptHead,
  items: readonly Item[],
  passages: readonly Passage[],
): PromptMessage[] {
  const messages: PromptMessage[] = system === '' ? [] : [{ role: 'system', content: system }];
  if (summary !== undefined) messages.push({ role: 'user', content: summary });
  const answered = new Set(items.filter((item) => item.kind === 'result').map(({ callId }) => callId));
  const lastUser = items.findLastIndex((item) => item.kind === 'message' && item.role === 'user');
  items.forEach((item, index) => {
    switch (item.kind) {
      case 'message':
        messages.push(
          item.role === 'assistant' ? spokenByAssistant(item) : spokenByUser(item, index === lastUser ? passages : []),
        );
        break;
      case 'call':
        addCall(messages, item);
        if (item.status === 'incomplete' && !answered.has(item.callId)) addResult(messages, item.callId, cancelledCall);
        break;
      case 'tool':
        addCall(messages, item);
        addResult(messages, item.callId, item.output ?? `Error: ${item.error ?? 'it did not run.'}`);
        break;
      case 'result':
        addResult(messages, item.callId, item.output);
        break;
      case 'compaction':
        // What it holds stands at the head.
        break;
    }
  });
  return messages;
}

function spokenByAssistant(item: MessageItem): PromptMessage {
  return { role: 'assistant', content: textOf(item.content) };
}

function spokenByUser(item: MessageItem, passages: readonly Passage[]): PromptMessage {
  const knowledge = passages.length === 0 ? '' : `${quotePassages(passages)}\n\n`;
  if (item.content.every((part) => part.type !== 'image'))
    return { role: 'user', content: knowledge + textOf(item.content) };
  const parts: PromptPart[] = knowledge === '' ? [] : [{ type: 'text', text: knowledge }];
  for (const part of item.content) parts.push(part.type === 'image' ? part : { type: 'text', text: part.text });
  return { role: 'user', content: parts };
}

const cancelledCall = 'Cancelled before it was made.';

function addResult(messages: PromptMessage[], callId: string, content: string): void {
  messages.push({ role: 'tool', callId, content });
}

/** Calls of one answer share a message with the text before them, as models emit them. */
function addCall(messages: PromptMessage[], item: CallItem | ToolItem): void {
  const call = { callId: item.callId, name: item.name, arguments: wholeArguments(item) };
  const last = messages.at(-1);
  const calling: AssistantMessage =
    last?.role === 'assistant'
      ? { ...last, calls: [...(last.calls ?? []), call] }
      : { role: 'assistant', content: '', calls: [call] };
  if (last?.role === 'assistant') messages.pop();
  messages.push(calling);
}

function quotePassages(passages: readonly Passage[]): string {
  const quoted = passages.map(
    (passage) => `<passage source="${passage.source}" title="${passage.title}">\n${passage.text}\n</passage>`,
  );
  return `Passages of the assistant's own knowledge that may help with the question below. Name the source of what you use.\n\n${quoted.join('\n\n')}`;
}

/** Model servers refuse a call whose arguments were cut short. */
function wholeArguments(item: CallItem | ToolItem): string {
  if (item.status === 'completed') return item.arguments;
  try {
    JSON.parse(item.arguments);
    return item.arguments;
  } catch {
    return '{}';
  }
}
