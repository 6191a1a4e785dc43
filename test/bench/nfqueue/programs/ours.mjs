// ours QUEUE MODE MAXLEN: node-nfqueue as a consumer that accepts at once. MODE: batch (verdictUpTo a burst), list
// (verdicts of a burst's ids), each (verdict packet by packet).
import process from 'node:process';
import { NfQueue } from 'node-nfqueue';

const [num, mode, maxLength] = process.argv.slice(2);
const accept = { verdict: 'accept' };
const queue = await NfQueue.open({ num: Number(num), copy: 'headers', maxLength: Number(maxLength) });
const listeners = {
  batch: (batch) => queue.verdictUpTo(batch.lastId, accept),
  list: (batch) => queue.verdicts(batch.ids(), accept),
  each: (batch) => {
    for (const packet of batch) queue.verdict(packet.id, accept);
  },
};
queue.on('packets', listeners[mode]);
queue.on('overflow', () => undefined);
process.stdout.write('ready\n');
