// ours-hold QUEUE MAXLEN: node-nfqueue as a consumer that holds, and does what it is told by a line of standard input:
// release (all at once), pace (all, at the default pace), block (keeps the event loop busy for a second), stats.
// Answers with one line each.
import process from 'node:process';
import { createInterface } from 'node:readline';
import { NfQueue } from 'node-nfqueue';

const [num, maxLength] = process.argv.slice(2);
const queue = await NfQueue.open({ num: Number(num), copy: 'headers', maxLength: Number(maxLength) });
queue.on('packets', () => undefined);

function block(ms) {
  const end = performance.now() + ms;
  while (performance.now() < end);
}

async function release(pace) {
  const startedNs = process.hrtime.bigint().toString();
  const result = await queue.release(queue.heldIds(), { verdict: 'accept', ...pace });
  return { startedNs, ...result };
}

const commands = {
  release: () => release({ chunk: Infinity, intervalMs: 0 }),
  pace: () => release({}),
  block: () => {
    process.stdout.write('"blocked"\n');
    block(1000);
    return 'free';
  },
  stats: () => queue.stats(),
};

createInterface({ input: process.stdin }).on('line', async (line) => {
  process.stdout.write(`${JSON.stringify(await commands[line]())}\n`);
});
process.stdout.write('ready\n');
