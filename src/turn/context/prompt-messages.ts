import type { PromptMessage, PromptPart } from '#backend';
import {
  searchFound,
  textOf,
  type ApprovalRequestItem,
  type CallItem,
  type ContentPart,
  type FoundPassage,
  type Item,
  type MessageItem,
  type ToolItem,
} from '#conversation';
import type { Passage } from '#release';
import { outcomeOf } from '../answer/approvals.ts';
import { inOrderOfSettling } from '../answer/hand-over.ts';

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
 *
 * `marks`: what the model is told to mark where it uses it, `found` being passages that its own searches found.
 * Numbers of earlier turns mean nothing any more, and an answer in JSON has no place for marks.
 */
export function promptMessages(
  { system, summary }: PromptHead,
  told: readonly Item[],
  {
    passages = [],
    marks,
  }: { readonly passages?: readonly Passage[]; readonly marks: 'passages' | 'found' | 'nothing' },
): PromptMessage[] {
  const items = inOrderOfSettling(told);
  const knowledge = passages.length === 0 ? '' : `${quotePassages(passages, marks === 'passages')}\n\n`;
  const messages: PromptMessage[] = system === '' ? [] : [{ role: 'system', content: system }];
  const answered = new Set(items.filter((item) => item.kind === 'result').map(({ callId }) => callId));
  const lastUser = items.findLastIndex((item) => item.kind === 'message' && item.role === 'user');
  let returned: PromptPart[] = [];
  const showReturned = (): void => {
    if (returned.length > 0)
      messages.push({ role: 'user', content: [{ type: 'text', text: imagesReturned }, ...returned] });
    returned = [];
  };
  items.forEach((item, index) => {
    // Results of one answer's calls stand together.
    if (item.kind !== 'result') showReturned();
    switch (item.kind) {
      case 'message':
        if (item.role === 'assistant') addSpoken(messages, spokenText(item, marks === 'found'), item.name);
        else messages.push(spokenByUser(item, index === lastUser ? knowledge : ''));
        break;
      case 'call':
        addCall(messages, item);
        if (item.status === 'incomplete' && !answered.has(item.callId)) addResult(messages, item.callId, cancelledCall);
        break;
      case 'tool':
        addCall(messages, item);
        addResult(messages, item.callId, outputOf(item, marks === 'found'));
        break;
      case 'result':
        addResult(messages, item.callId, item.output);
        returned.push(...(item.images ?? []));
        break;
      case 'approval-request': {
        const outcome = outcomeOf(item, items);
        if (outcome === undefined) break;
        addCall(messages, item);
        addResult(messages, item.callId, outcome);
        break;
      }
      case 'reasoning':
        // Models that think between calls of tools want it back until a person speaks again, and nobody later.
        if (index > lastUser) addThought(messages, item.text);
        break;
      case 'approval':
      case 'compaction':
        // One is told with its request, the other at the head.
        break;
    }
  });
  showReturned();
  const said = messages.filter((message) => !isThoughtAlone(message));
  return summary === undefined ? said : withSummary(said, summary);
}

/** It shares a message with what the model said or called after it. */
function addThought(messages: PromptMessage[], reasoning: string): void {
  const last = messages.at(-1);
  if (last?.role === 'assistant' && last.calls === undefined) {
    messages.pop();
    messages.push({
      ...last,
      reasoning: last.reasoning === undefined ? reasoning : joined(last.reasoning, reasoning),
    });
  } else messages.push({ role: 'assistant', content: '', reasoning });
}

/** Nothing came after it: it was cut short. */
function isThoughtAlone(message: PromptMessage): boolean {
  return message.role === 'assistant' && message.reasoning !== undefined && message.content === '' && !message.calls;
}

/** At the head of the first thing that was said: several chat templates refuse two messages of the user in a row. */
function withSummary(messages: readonly PromptMessage[], summary: string): PromptMessage[] {
  const at = messages[0]?.role === 'system' ? 1 : 0;
  const first = messages[at];
  if (first?.role !== 'user') return messages.toSpliced(at, 0, { role: 'user', content: summary });
  const content: PromptMessage['content'] =
    typeof first.content === 'string'
      ? `${summary}\n\n${first.content}`
      : [{ type: 'text', text: summary }, ...first.content];
  return messages.toSpliced(at, 1, { ...first, content });
}

/** Several chat templates refuse two messages of the assistant in a row. */
function addSpoken(messages: PromptMessage[], text: string, name: string | undefined): void {
  const last = messages.at(-1);
  if (last?.role !== 'assistant' || last.calls !== undefined) {
    messages.push({ role: 'assistant', ...named(name), content: text });
    return;
  }
  messages.pop();
  messages.push({ ...last, content: joined(last.content, text) });
}

/** Not by an array, which would copy all that was said before with each item that is added. */
function joined(before: string, text: string): string {
  if (before === '' || text === '') return before + text;
  return `${before}\n\n${text}`;
}

function spokenText({ content }: MessageItem, isOfTurn: boolean): string {
  return textOf(isOfTurn ? content : content.map(withoutMarks));
}

/** An earlier answer without its marks, which would be taken for those of the passages of this turn. */
function withoutMarks(part: ContentPart): ContentPart {
  if (part.type !== 'text' || part.citations === undefined) return part;
  let text = '';
  let from = 0;
  for (const { start, end } of part.citations) {
    if (start < from || !/^\[\d+\]$/.test(part.text.slice(start, end))) continue;
    text += part.text.slice(from, start);
    from = end;
  }
  return { ...part, text: text + part.text.slice(from) };
}

function spokenByUser(item: MessageItem, knowledge: string): PromptMessage {
  if (item.content.every((part) => part.type !== 'image')) {
    const files = item.content.flatMap((part) => (part.type === 'file' ? [`${fileText(part)}\n\n`] : []));
    return { role: 'user', ...named(item.name), content: knowledge + files.join('') + textOf(item.content) };
  }
  const parts: PromptPart[] = knowledge === '' ? [] : [{ type: 'text', text: knowledge }];
  for (const part of item.content) {
    if (part.type === 'image') parts.push(part);
    else parts.push({ type: 'text', text: part.type === 'file' ? fileText(part) : part.text });
  }
  return { role: 'user', ...named(item.name), content: parts };
}

function named(name: string | undefined): { readonly name?: string } {
  return name === undefined ? {} : { name };
}

/** As a model reads a file. */
export function fileText({ name, text }: Extract<ContentPart, { type: 'file' }>): string {
  return `<file name="${name}">\n${withoutEnd('file', text)}\n</file>`;
}

/**
 * A text that stands between tags of ours, without the tag that ends them: what follows that would
 * seem to be said by whoever says what stands around it.
 */
export function withoutEnd(tag: 'file' | 'passage' | 'summary' | 'conversation', text: string): string {
  return text.replaceAll(new RegExp(`<(?=\\s*/\\s*${tag}\\b)`, 'giu'), '‹');
}

/** An attribute of such a tag: one line, which does not end it. */
function attribute(text: string): string {
  return text.replaceAll(/["<>\n\r]/gu, ' ');
}

/** Results are text alone to a model's server. */
const imagesReturned = 'Images that the calls above returned:';

const cancelledCall = 'Cancelled before it was made.';

function addResult(messages: PromptMessage[], callId: string, content: string): void {
  messages.push({ role: 'tool', callId, content });
}

/** Calls of one answer share a message with the text before them, as models emit them. */
function addCall(messages: PromptMessage[], item: CallItem | ToolItem | ApprovalRequestItem): void {
  const custom = item.kind === 'call' && item.custom === true ? { custom: item.custom } : {};
  const call = { callId: item.callId, name: item.name, arguments: wholeArguments(item), ...custom };
  const last = messages.at(-1);
  const calling: AssistantMessage =
    last?.role === 'assistant'
      ? { ...last, calls: [...(last.calls ?? []), call] }
      : { role: 'assistant', content: '', calls: [call] };
  if (last?.role === 'assistant') messages.pop();
  messages.push(calling);
}

function outputOf(item: ToolItem, isMarked: boolean): string {
  const found = searchFound(item);
  if (found !== undefined) return quoteFound(found, isMarked);
  return item.output ?? `Error: ${item.error ?? 'it did not run.'}`;
}

function quotePassages(passages: readonly Passage[], isMarked: boolean): string {
  const numbered = passages.map((passage, at) => ({ ...passage, number: at + 1 }));
  return `Passages of the assistant's own knowledge that may help with the question below. ${toldToCite(isMarked)}\n\n${quote(numbered, isMarked)}`;
}

function quoteFound(found: readonly FoundPassage[], isMarked: boolean): string {
  if (found.length === 0)
    return 'Nothing was found. Search with other words, or say that the documents do not tell it.';
  return `Passages found. ${toldToCite(isMarked)}\n\n${quote(found, isMarked)}`;
}

function toldToCite(isMarked: boolean): string {
  return isMarked
    ? 'After what you take from one, put its number in square brackets, such as [1].'
    : 'Name the source of what you use.';
}

function quote(passages: readonly (Passage & { readonly number: number })[], isMarked: boolean): string {
  return passages
    .map(({ number, source, title, text }) => {
      const numbered = isMarked ? ` number="${number}"` : '';
      const head = `<passage${numbered} source="${attribute(source)}" title="${attribute(title)}">`;
      return `${head}\n${withoutEnd('passage', text)}\n</passage>`;
    })
    .join('\n\n');
}

/** Model servers refuse a call whose arguments were cut short. */
function wholeArguments(item: CallItem | ToolItem | ApprovalRequestItem): string {
  if (item.status === 'completed' || (item.kind === 'call' && item.custom === true)) return item.arguments;
  try {
    JSON.parse(item.arguments);
    return item.arguments;
  } catch {
    return '{}';
  }
}
