// hold-queue.mjs NUMBER [wait]: occupies an NFQUEUE until it is killed, and says "open" when it has it. With `wait` it tries
// until nobody else has it.
import { NfQueue } from 'node-nfqueue';

const [number, wait] = process.argv.slice(2);
for (;;) {
  try {
    await NfQueue.open({ num: Number(number) });
    break;
  } catch (error) {
    if (wait === undefined || error.code !== 'EBUSY') throw error;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
console.log('open');
setInterval(() => {}, 1e6);
