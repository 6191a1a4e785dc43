// hold-queue.mjs NUMBER: occupies an NFQUEUE until it is killed, and says "open" when it has it.
import { NfQueue } from 'node-nfqueue';

await NfQueue.open({ num: Number(process.argv[2]) });
console.log('open');
setInterval(() => {}, 1e6);
