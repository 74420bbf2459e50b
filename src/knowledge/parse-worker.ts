import { parentPort, type MessagePort } from 'node:worker_threads';
import { parseDocument, type ToParse } from './parse-document.ts';

/* Parsers take seconds for a long document and cannot be interrupted, so they stay off the event loop. */

const port = parentPort as MessagePort;

port.on('message', ({ path, bytes }: ToParse) => {
  void parseDocument(path, bytes).then((parsed) => port.postMessage(parsed));
});
