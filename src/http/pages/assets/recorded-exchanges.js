import { isHandover } from './answer-end.js';

/**
 * @typedef {import('./chat-client.js').Item} Item
 *
 * @typedef {object} RecordedExchange
 * @property {string} question '' where its page of the history ends before it, or where a person wrote unasked
 * @property {string[]} added what else was said before the answer came
 * @property {boolean} isDecision on a call that the person had to agree to
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
    if (type === 'mcp_approval_response') {
      exchanges.push({ ...exchange(decisionWords(item.approve === true), response), isDecision: true });
    }
    if (type !== 'message') continue;
    const text = content.map((part) => part.text ?? '').join('');
    const isAdded = response === null && last?.messages.length === 0 && last.asked.length === 0;
    if (role === 'user' && isAdded) last.added.push(text);
    else if (role === 'user') exchanges.push(exchange(text, response));
    if (role !== 'assistant') continue;
    const answered = own ?? exchange('', response);
    if (own === undefined) exchanges.push(answered);
    answered.messages.push(content);
    if (item.operator != null) answered.person ??= `${item.operator} answered.`;
  }
  return exchanges;
}

/**
 * @param {string} question
 * @param {string | null} response
 * @returns {RecordedExchange}
 */
function exchange(question, response) {
  return { question, added: [], isDecision: false, response, messages: [], asked: [], person: null };
}

/**
 * What the person is shown to have said by their choice.
 * @param {boolean} approve
 */
export function decisionWords(approve) {
  return approve ? 'Allowed' : 'Refused';
}
