// ours QUEUE MODE MAXLEN: node-nfqueue as a consumer. MODE: batch (verdictUpTo a burst), list (verdicts of a burst's ids),
// each (verdict packet by packet), hold (verdicts wait for SIGUSR1).
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
  hold: () => undefined,
};
queue.on('packets', listeners[mode]);
queue.on('overflow', () => undefined);
if (mode === 'hold') {
  process.on('SIGUSR1', () => {
    const at = process.hrtime.bigint();
    void queue.release(queue.heldIds(), { ...accept, chunk: Infinity, intervalMs: 0 }).then((result) => {
      if (result.gone > 0) process.stderr.write(`gone: ${result.gone}\n`);
      process.stdout.write(`${at}\n`);
    });
  });
}
process.stdout.write('ready\n');
