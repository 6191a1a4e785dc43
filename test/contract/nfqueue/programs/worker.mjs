// In a Worker: opens a queue in the namespace that it is given, accepts what comes, and reports.
import { parentPort, workerData } from 'node:worker_threads';
import { NfQueue } from 'node-nfqueue';

const queue = await NfQueue.open({ num: workerData.num, netns: workerData.netns, maxLength: 8192 });
let packets = 0;
queue.on('packets', (batch) => {
  packets += batch.length;
  if (workerData.hold !== true) queue.verdictUpTo(batch.lastId, { verdict: 'accept' });
  parentPort.postMessage({ packets });
});
parentPort.on('message', async () => {
  await queue.close();
  parentPort.postMessage({ packets, closed: true });
  parentPort.close();
});
parentPort.postMessage({ packets, ready: true });
