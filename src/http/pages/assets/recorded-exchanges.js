import { isHandover } from './answer-end.js';

/**
 * @typedef {import('./chat-client.js').Item} Item
 *
 * @typedef {object} RecordedExchange
 * @property {string} question '' where its page of the history ends before it
 * @property {string | null} response
 * @property {NonNullable<Item['content']>[]} messages of the answer
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
    const own = last !== undefined && last.response === response ? last : undefined;
    if (isHandover(item) && own !== undefined) own.person = item.output ?? null;
    if (type === 'mcp_approval_request') own?.asked.push(item);
    if (type === 'mcp_approval_response') exchanges.push(exchange(decisionWords(item.approve === true), response));
    if (type !== 'message') continue;
    if (role === 'user') exchanges.push(exchange(content.map((part) => part.text ?? '').join(''), response));
    else if (role === 'assistant' && own !== undefined) own.messages.push(content);
    else if (role === 'assistant') exchanges.push({ ...exchange('', response), messages: [content] });
  }
  return exchanges;
}

/**
 * @param {string} question
 * @param {string | null} response
 * @returns {RecordedExchange}
 */
function exchange(question, response) {
  return { question, response, messages: [], asked: [], person: null };
}

/**
 * What the person is shown to have said by their choice.
 * @param {boolean} approve
 */
export function decisionWords(approve) {
  return approve ? 'Allowed' : 'Refused';
}
