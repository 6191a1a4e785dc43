// end HOW: opens a queue and lets the process come to its end. HOW: close (after a close), unref, keep (it must not end:
// says `alive` after half a second and ends itself), exit (process.exit inside a listener's turn).
import process from 'node:process';
import { NfQueue } from 'node-nfqueue';

const how = process.argv[2];
const queue = await NfQueue.open({ num: 1 });
queue.on('packets', () => undefined);
if (how === 'close') await queue.close();
if (how === 'unref') queue.unref();
if (how === 'exit') setImmediate(() => process.exit(0));
if (how === 'keep') {
  setTimeout(() => {
    process.stdout.write('alive');
    process.exit(0);
  }, 500).unref();
}
