import { Worker } from 'node:worker_threads';
import { once } from 'node:events';
import { expect, test } from 'vitest';
import { cpuUs, residentBytes } from './process-meter.ts';

test.skipIf(process.platform !== 'linux')(
  'processor time counts every thread, as much as the runtime itself counts',
  async () => {
    const source = `
      const { parentPort } = require('node:worker_threads');
      const until = process.threadCpuUsage().user + 100_000;
      while (process.threadCpuUsage().user < until);
      parentPort.postMessage('burnt');
      parentPort.on('message', () => {});`;
    const before = cpuUs(process.pid);
    const worker = new Worker(source, { eval: true });
    await once(worker, 'message');
    expect(cpuUs(process.pid) - before).toBeGreaterThanOrEqual(99_000);
    await worker.terminate();
  },
);

test.skipIf(process.platform !== 'linux')('resident memory is that of the process, in bytes', () => {
  const ratio = residentBytes(process.pid) / process.memoryUsage.rss();
  expect(ratio).toBeGreaterThan(0.5);
  expect(ratio).toBeLessThan(20);
});
