// A listener that throws on every third packet, without an error listener: the process has to live.
import process from 'node:process';
import { NfQueue } from 'node-nfqueue';

const queue = await NfQueue.open({ num: Number(process.argv[2]), maxLength: 8192 });
let accepted = 0;
queue.on('packets', (batch) => {
  for (const packet of batch) {
    if (packet.id % 3 === 0) throw new Error(`packet ${packet.id}`);
    queue.verdict(packet.id, { verdict: 'accept' });
    accepted++;
  }
});
process.on('warning', () => undefined);
process.stdin.on('data', async () => {
  process.stdout.write(`${JSON.stringify({ accepted, held: queue.held, errors: queue.stats().listenerErrors })}\n`);
  await queue.close({ held: 'accept' });
  process.stdin.destroy();
});
process.stdout.write('ready\n');
