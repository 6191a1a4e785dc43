// A listener that throws, and a listener of 'error' that throws as well: that is the process's to know, and the queue goes on.
import process from 'node:process';
import { NfQueue } from 'node-nfqueue';

const queue = await NfQueue.open({ num: Number(process.argv[2]) });
const uncaught = [];
queue.on('packets', (batch) => {
  queue.verdictUpTo(batch.lastId, { verdict: 'accept' });
  throw new Error('in the listener');
});
queue.on('error', (error) => {
  throw error;
});
process.on('uncaughtException', ({ code }) => {
  uncaught.push(code);
  if (uncaught.length < 3) return;
  process.stdout.write(uncaught.join(' '));
  void queue.close();
});
process.stdout.write('ready\n');
