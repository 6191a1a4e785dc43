// open OPTIONS: tries to open a queue, and prints how that failed.
import process from 'node:process';
import { NfQueue } from 'node-nfqueue';

try {
  const queue = await NfQueue.open(JSON.parse(process.argv[2]));
  const warned = new Promise((resolve) => {
    queue.on('warning', resolve);
    setTimeout(() => resolve(undefined), 100);
  });
  const warning = await warned;
  process.stdout.write(JSON.stringify({ opened: true, warning: warning && { code: warning.code, syscall: warning.syscall, hint: warning.hint } }));
  await queue.close();
} catch (error) {
  const { name, code, errno, syscall, hint, owner, message } = error;
  process.stdout.write(JSON.stringify({ name, code, errno, syscall, hint, owner, message }));
}
