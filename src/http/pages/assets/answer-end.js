import { cutOff, Failure, inWords } from './failure.js';

/**
 * @typedef {import('./chat-client.js').Recorded} Recorded
 * @typedef {import('./exchange-view.js').End} End
 * @typedef {import('./exchange-view.js').ExchangeView} ExchangeView
 */

/**
 * What an event does to the exchange; how the answer ended, once it did.
 * @param {ExchangeView} view @param {import('./answer-stream.js').StreamEvent} event
 * @returns {End | undefined}
 */
export function takeEvent(view, event) {
  view.heard = event['sequence_number'] ?? view.heard;
  switch (event.type) {
    case 'response.created':
      view.response = event['response'].id;
      return undefined;
    case 'response.in_progress':
      // A later one says that the answer begins anew, after what it holds.
      view.restart();
      for (const item of event['response'].output) if (item.type === 'message') sayAgain(view, item.content);
      return undefined;
    case 'response.output_item.added':
      if (event['item'].type === 'message') view.separate();
      if (isHandover(event['item'])) view.handover = event['item'].id;
      else view.working(stepWords(event['item']));
      return undefined;
    case 'response.mcp_call.in_progress':
      if (event['item_id'] === view.handover) view.awaitPerson();
      return undefined;
    case 'response.output_item.done':
      if (isHandover(event['item'])) view.handedOver(event['item'].output);
      if (stepWords(event['item']) !== '') view.working('');
      if (event['item'].type === 'mcp_approval_request') view.askApproval(event['item']);
      return undefined;
    case 'response.output_text.delta':
    case 'response.refusal.delta':
      view.add(event['delta']);
      return undefined;
    case 'response.output_text.annotation.added':
      view.cite(event['annotation']);
      return undefined;
    case 'response.completed':
      return { how: 'completed' };
    case 'response.incomplete':
      if (event['response'].status === 'cancelled') return { how: 'stopped' };
      return { how: event['response'].incomplete_details?.reason === 'content_filter' ? 'filtered' : 'short' };
    case 'response.failed':
      return { how: 'failed', message: brokenOff(view, event['response'].error?.code) };
    default:
      return undefined;
  }
}

/**
 * @param {ExchangeView} view
 * @param {{text?: string, refusal?: string, annotations?: import('./chat-client.js').Annotation[]}[]} content
 */
function sayAgain(view, content) {
  view.separate();
  for (const { text, refusal, annotations = [] } of content) {
    view.add(text ?? refusal ?? '');
    for (const annotation of annotations) view.cite(annotation);
  }
}

/**
 * Whether it is the call by which a person is asked to answer.
 * @param {{type: string, server_label?: string, name?: string}} item
 */
export function isHandover({ type, server_label: label, name }) {
  return type === 'mcp_call' && label === 'usher' && name === 'hand_over';
}

/** What the assistant does with such an item, where it does not write. @param {{type: string, name?: string}} item */
function stepWords({ type, name = '' }) {
  if (type === 'mcp_call') return `Using ${name} …`;
  return type === 'file_search_call' ? 'Searching the documents …' : '';
}

/**
 * The wire says little of why, and says it to programmers.
 * @param {ExchangeView} view @param {string | undefined} code
 */
function brokenOff(view, code) {
  if (code === 'rate_limit_exceeded') return inWords('rate_limited', null);
  return view.text === '' ? 'The model could not answer. Please try again.' : 'It broke off. Please try again.';
}

/**
 * How an answer ended that ended without saying so.
 * @param {ExchangeView} view @param {unknown} error @returns {End}
 */
export function endByError(view, error) {
  if (isMissing(error)) {
    const message = 'This conversation was deleted elsewhere. Try again to begin a new one with this message.';
    return { how: 'failed', message };
  }
  // A stream that tears throws whatever the browser calls it.
  const other = view.response === undefined ? new Failure('unknown', inWords(null, null)) : cutOff();
  const { message, retryAfterMs } = error instanceof Failure ? error : other;
  return { how: 'failed', message, retryAfterMs };
}

/**
 * @param {Recorded | undefined} response
 * @returns {End}
 */
export function recordedEnd(response) {
  switch (response?.status) {
    case 'queued':
    case 'in_progress':
      return { how: 'running' };
    case 'incomplete':
      return { how: response.reason === 'filtered' ? 'filtered' : 'short' };
    case 'cancelled':
      return { how: 'stopped' };
    case 'failed':
      return { how: 'failed', message: inWords(response.reason, null) };
    default:
      return { how: 'completed' };
  }
}

/** @param {unknown} error */
export function isMissing(error) {
  return error instanceof Failure && error.code === 'not_found';
}
