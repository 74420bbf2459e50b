import { isHandover } from './answer-end.js';

/**
 * @typedef {import('./chat-client.js').Item} Item
 *
 * @typedef {object} RecordedExchange
 * @property {string} question '' where its page of the history ends before it
 * @property {string | null} response
 * @property {NonNullable<Item['content']>} parts of the answer
 * @property {Item[]} asked calls that the person had to agree to
 * @property {string | null} person who answered in the assistant's place, in a sentence
 */

/**
 * Questions with what answered them.
 * @param {Item[]} items oldest first
 * @returns {RecordedExchange[]}
 */
export function recordedExchanges(items) {
  /** @type {RecordedExchange[]} */
  const exchanges = [];
  for (const item of items) {
    const { type, role, content = [], response } = item;
    const last = exchanges.at(-1);
    if (isHandover(item) && last !== undefined && last.response === response) last.person = item.output ?? null;
    if (type === 'mcp_approval_request' && last !== undefined && last.response === response) last.asked.push(item);
    if (type === 'mcp_approval_response') {
      exchanges.push({ question: decisionWords(item.approve === true), response, parts: [], person: null, asked: [] });
    }
    if (type !== 'message') continue;
    if (role === 'user') {
      exchanges.push({
        question: content.map((part) => part.text ?? '').join(''),
        response,
        parts: [],
        person: null,
        asked: [],
      });
    } else if (role === 'assistant' && last !== undefined && last.response === response) {
      if (last.parts.length > 0) last.parts.push({ type: 'output_text', text: '\n\n' });
      last.parts.push(...content);
    } else if (role === 'assistant')
      exchanges.push({ question: '', response, parts: [...content], person: null, asked: [] });
  }
  return exchanges;
}

/**
 * What the person is shown to have said by their choice.
 * @param {boolean} approve
 */
export function decisionWords(approve) {
  return approve ? 'Allowed' : 'Refused';
}
