import { parentPort, type MessagePort } from 'node:worker_threads';
import { textOfFile, type SentFile } from './file-text.ts';

/* Parsers take seconds for a long file and cannot be interrupted, so they stay off the event loop. */

const port = parentPort as MessagePort;

port.on('message', (file: SentFile) => {
  void textOfFile(file).then((text) => port.postMessage(text));
});
