/**
 * @typedef {{type: string, [key: string]: any}} StreamEvent
 */

/**
 * The events of an event stream, as they come. Ends when the stream does: whether the answer is whole
 * is for its last event to say.
 * @param {ReadableStream<Uint8Array<ArrayBuffer>>} body
 * @returns {AsyncGenerator<StreamEvent>}
 */
export async function* readEvents(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let waiting = '';
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const lines = (waiting + value).split(/\r?\n/);
    waiting = lines.pop() ?? '';
    for (const line of lines) {
      // Our own server writes one line of data for each event.
      if (line.startsWith('data: {')) yield JSON.parse(line.slice('data: '.length));
    }
  }
}
