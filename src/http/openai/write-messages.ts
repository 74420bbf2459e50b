import type { CallItem, ContentPart, Item } from '#conversation';

interface StoredMessage {
  readonly id: string;
  readonly role: string;
  readonly content: string | null;
  readonly [field: string]: unknown;
}

/** Items as the messages of Chat Completions that they were sent as: calls are part of the message before them. */
export function writeMessages(items: readonly Item[]): readonly StoredMessage[] {
  const messages: StoredMessage[] = [];
  for (const item of items) {
    switch (item.kind) {
      case 'message':
        messages.push(writeMessage(item));
        break;
      case 'result':
        messages.push({ id: item.id, role: 'tool', tool_call_id: item.callId, content: item.output, refusal: null });
        break;
      case 'call':
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

function writeMessage({ id, role, content }: Extract<Item, { kind: 'message' }>): StoredMessage {
  const refusal = content.map((part) => (part.type === 'refusal' ? part.text : '')).join('');
  const text = content.map((part) => (part.type === 'text' ? part.text : '')).join('');
  const isPlain = content.every(({ type }) => type === 'text' || type === 'refusal');
  return {
    id,
    role,
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

function addCall(messages: StoredMessage[], item: CallItem): void {
  const call = writeCall(item);
  const last = messages.at(-1);
  if (last?.role !== 'assistant') {
    messages.push({ id: item.id, role: 'assistant', content: null, refusal: null, tool_calls: [call] });
    return;
  }
  const before = (last['tool_calls'] ?? []) as readonly object[];
  messages.splice(-1, 1, { ...last, tool_calls: [...before, call] });
}

/** A call of a function or a custom tool, as this wire writes it. */
export function writeCall({ callId: id, name, arguments: text, custom }: CallItem): object {
  return custom === true
    ? { id, type: 'custom', custom: { name, input: text } }
    : { id, type: 'function', function: { name, arguments: text } };
}
