import type { CallItem, ContentPart, Item, ResultItem } from '#conversation';
import { isCalledFunction } from './read-functions.ts';

interface StoredMessage {
  readonly id: string;
  readonly role: string;
  readonly content: string | null;
  readonly [field: string]: unknown;
}

/** Items as the messages of Chat Completions that they were sent as: calls are part of the message before them. */
export function writeMessages(items: readonly Item[]): readonly StoredMessage[] {
  const messages: StoredMessage[] = [];
  /** Functions that were called by their older name, by what ties results to them. */
  const functions = new Map<string, string>();
  for (const item of items) {
    switch (item.kind) {
      case 'message':
        messages.push(writeMessage(item));
        break;
      case 'result':
        messages.push(writeResult(item, functions.get(item.callId)));
        break;
      case 'call':
        if (isCalledFunction(item)) functions.set(item.callId, item.name);
        addCall(messages, item);
        break;
      case 'tool':
      case 'reasoning':
      case 'compaction':
        // No message of this wire.
        break;
    }
  }
  return messages;
}

function writeMessage({ id, role, name, content }: Extract<Item, { kind: 'message' }>): StoredMessage {
  const refusal = content.map((part) => (part.type === 'refusal' ? part.text : '')).join('');
  const text = content.map((part) => (part.type === 'text' ? part.text : '')).join('');
  // One text may have been sent as it is.
  const isPlain = content.every(({ type }) => type === 'text' || type === 'refusal') && content.length <= 1;
  return {
    id,
    role,
    ...(name === undefined ? {} : { name }),
    content: text === '' && refusal !== '' ? null : text,
    refusal: refusal === '' ? null : refusal,
    content_parts: isPlain ? null : content.flatMap(writePart),
  };
}

function writePart(part: ContentPart): object[] {
  switch (part.type) {
    case 'text':
      return [{ type: 'text', text: part.text }];
    case 'image':
      return [{ type: 'image_url', image_url: { url: part.url, detail: part.detail ?? 'auto' } }];
    case 'file':
      return [{ type: 'text', text: part.text }];
    case 'refusal':
      return [];
  }
}

function writeResult({ id, callId, output: content }: ResultItem, name: string | undefined): StoredMessage {
  return name === undefined
    ? { id, role: 'tool', tool_call_id: callId, content, refusal: null }
    : { id, role: 'function', name, content, refusal: null };
}

function addCall(messages: StoredMessage[], item: CallItem): void {
  const last = messages.at(-1);
  const isPart = last?.role === 'assistant' && last['function_call'] === undefined;
  const message = isPart ? last : { id: item.id, role: 'assistant', content: null, refusal: null };
  if (isPart) messages.pop();
  if (isCalledFunction(item)) {
    messages.push({ ...message, function_call: { name: item.name, arguments: item.arguments } });
    return;
  }
  const before = (message['tool_calls'] ?? []) as readonly object[];
  messages.push({ ...message, tool_calls: [...before, writeCall(item)] });
}

/** A call of a function or a custom tool, as this wire writes it. */
export function writeCall({ callId: id, name, arguments: text, custom }: CallItem): object {
  return custom === true
    ? { id, type: 'custom', custom: { name, input: text } }
    : { id, type: 'function', function: { name, arguments: text } };
}
