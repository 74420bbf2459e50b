/**
 * @typedef {import('./chat-client.js').Item} Item
 *
 * @typedef {object} RecordedExchange
 * @property {string} question '' where its page of the history ends before it
 * @property {string | null} response
 * @property {NonNullable<Item['content']>} parts of the answer
 */

/**
 * Questions with what answered them.
 * @param {Item[]} items oldest first
 * @returns {RecordedExchange[]}
 */
export function recordedExchanges(items) {
  /** @type {RecordedExchange[]} */
  const exchanges = [];
  for (const { type, role, content = [], response } of items) {
    if (type !== 'message') continue;
    const last = exchanges.at(-1);
    if (role === 'user') {
      exchanges.push({ question: content.map((part) => part.text ?? '').join(''), response, parts: [] });
    } else if (role === 'assistant' && last !== undefined && last.response === response) last.parts.push(...content);
    else if (role === 'assistant') exchanges.push({ question: '', response, parts: [...content] });
  }
  return exchanges;
}
