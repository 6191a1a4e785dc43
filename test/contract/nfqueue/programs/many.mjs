// many COUNT: opens and closes queues, then says how many descriptors and bytes that has cost.
import { readdirSync } from 'node:fs';
import process from 'node:process';
import { NfQueue } from 'node-nfqueue';

async function round(count) {
  for (let i = 0; i < count; i++) {
    const queue = await NfQueue.open({ num: i % 8, copy: i % 2 === 0 ? 'headers' : 'whole' });
    queue.on('packets', () => undefined);
    await queue.close();
  }
  for (let i = 0; i < 3; i++) {
    globalThis.gc();
    await new Promise((resolve) => setImmediate(resolve));
  }
  return { descriptors: readdirSync('/proc/self/fd').length, resident: process.memoryUsage.rss(), threads: readdirSync('/proc/self/task').length };
}

const before = await round(1000);
const after = await round(Number(process.argv[2]));
process.stdout.write(JSON.stringify({ descriptors: after.descriptors - before.descriptors, bytes: after.resident - before.resident, threads: after.threads - before.threads }));
