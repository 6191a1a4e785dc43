import { open, readFile } from 'node:fs/promises';
import { Worker } from 'node:worker_threads';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { execa } from 'execa';
import { NfQueue, NfQueueError } from 'node-nfqueue';
import { Netns } from '../../lab/netns.js';
import { Fixture, program } from './fixture.js';
import { sequence, until, type Receiver } from './lab.js';

const fixture = new Fixture(15);
let netns: Netns;
let receiver: Receiver;

beforeAll(async () => {
  receiver = await fixture.lab.listen();
  netns = await Netns.create('nfq-p');
});

afterAll(async () => {
  await netns.dispose();
});

/** What the program says that tries to open a queue. */
async function attempt(options: object, command: readonly string[] = []): Promise<Record<string, unknown>> {
  return JSON.parse(await netns.run('env', [...command, process.execPath, program('open.mjs'), JSON.stringify(options)])) as Record<string, unknown>;
}

describe('an open that fails', () => {
  it('names the process that has the queue', async () => {
    const queue = await fixture.open();
    const error: unknown = await NfQueue.open({ num: fixture.num, netns: fixture.lab.netns }).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(NfQueueError);
    expect(error).toMatchObject({ code: 'EBUSY', errno: 16, syscall: 'bind queue', owner: { pid: process.pid, command: expect.any(String) } });
    expect((error as NfQueueError).hint).toContain(`process ${process.pid}`);
    await queue.close();
    await (await NfQueue.open({ num: fixture.num, netns: fixture.lab.netns })).close();
  });

  it('names the capability that is missing', async () => {
    const error = await attempt({ num: 1 }, ['setpriv', '--reuid', '65534', '--regid', '65534', '--clear-groups']);
    expect(error).toMatchObject({ name: 'NfQueueError', code: 'EPERM', errno: 1, hint: expect.stringMatching(/CAP_NET_ADMIN, which this process lacks/) });
  });

  it('says what a namespace needs to be', async () => {
    const file = await open('/dev/null', 'r');
    await expect(NfQueue.open({ num: 1, netns: file.fd })).rejects.toMatchObject({ code: 'EINVAL', syscall: 'setns', hint: expect.stringContaining('/run/netns/NAME') });
    await file.close();
    await expect(NfQueue.open({ num: 1, netns: 999_999 })).rejects.toMatchObject({ code: 'EBADF', syscall: 'setns' });
  });

  it.each([
    ['num', { num: 65_536 }],
    ['num', { num: -1 }],
    ['num', { num: '5' }],
    ['copy', { num: 1, copy: 'some' }],
    ['copy', { num: 1, copy: 0 }],
    ['copy', { num: 1, copy: 65_532 }],
    ['maxLength', { num: 1, maxLength: 0 }],
    ['receiveBuffer', { num: 1, receiveBuffer: -5 }],
    ['netns', { num: 1, netns: -1 }],
    ['coalesceUs', { num: 1, coalesceUs: 1e6 }],
    ['burst', { num: 1, burst: 0 }],
    ['flag', { num: 1, flags: { fast: true } }],
  ])('refuses a wrong %s', async (name, options) => {
    await expect(NfQueue.open(options as { num: number })).rejects.toMatchObject({ code: 'ERR_INVALID_ARGUMENT', message: expect.stringContaining(name) });
  });

  it('leaves nothing open', async () => {
    const result = await netns.run(process.execPath, ['--input-type=module', '--eval', `
      import { readdirSync } from 'node:fs';
      import { NfQueue } from ${JSON.stringify(import.meta.resolve('node-nfqueue'))};
      const queue = await NfQueue.open({ num: 1 });
      await NfQueue.open({ num: 1 }).catch(() => undefined);
      const before = readdirSync('/proc/self/fd').length;
      for (let i = 0; i < 50; i++) await NfQueue.open({ num: 1 }).catch(() => undefined);
      const after = readdirSync('/proc/self/fd').length; // standard output opens one
      process.stdout.write(String(after - before));
      await queue.close();`]);
    expect(result).toBe('0');
  });
});

describe('an open that succeeds', () => {
  it('warns where the receive buffer is smaller than asked for', async () => {
    const inUserNamespace = await execa('unshare', ['--user', '--map-root-user', '--net', process.execPath, program('open.mjs'), JSON.stringify({ num: 1, receiveBuffer: 500_000_000 })]);
    expect(JSON.parse(inUserNamespace.stdout)).toMatchObject({ opened: true, warning: { code: 'EPERM', syscall: 'setsockopt(SO_RCVBUFFORCE)', hint: expect.stringContaining('rmem_max') } });
    expect(await attempt({ num: 1, receiveBuffer: 500_000_000 })).toEqual({ opened: true });
  });

  it('takes all flags', async () => {
    expect(await attempt({ num: 1, flags: { gso: true, failOpen: true, uidGid: true } })).toEqual({ opened: true });
  });
});

describe('a process', () => {
  const end = (how: string): Promise<string> => netns.run('timeout', ['30', process.execPath, program('end.mjs'), how]);

  it('ends by itself once its queue is closed or let go, not before', async () => {
    expect(await end('close')).toBe('');
    expect(await end('unref')).toBe('');
    expect(await end('exit')).toBe('');
    expect(await end('keep')).toBe('alive');
  });

  it('does not leak over 10,000 opens and closes', async () => {
    const { descriptors, bytes, threads } = JSON.parse(await netns.run(process.execPath, ['--expose-gc', program('many.mjs'), '10000'])) as Record<string, number>;
    expect(descriptors).toBe(0);
    expect(threads).toBe(0);
    // the receive buffers of 10,000 queues are 23 GB, their tables 160 MB
    expect(bytes).toBeLessThan(24 * 2 ** 20);
  });

  it('lives on when a listener throws and nobody listens to errors', async () => {
    receiver.clear();
    const running = fixture.lab.router.spawn(process.execPath, [program('throws.mjs'), String(fixture.num)]);
    const output: string[] = [];
    running.stdout.on('data', (data: Buffer) => output.push(data.toString()));
    await until('it is ready', () => output.join('') === 'ready\n');
    await fixture.lab.send(30);
    await until('20 delivered', () => receiver.received.length === 20);
    running.stdin.write('report\n');
    const { exitCode } = await running;
    expect(JSON.parse(output.join('').split('\n')[1]!)).toEqual({ accepted: 20, held: 10, errors: 10 });
    await until('the rest is delivered by the close', () => receiver.received.length === 30);
    expect(exitCode).toBe(0);
    expect([...receiver.received].sort((a, b) => a - b)).toEqual(sequence(30));
  });

  it('hears of it when a listener of errors throws, and the queue goes on', async () => {
    receiver.clear();
    const running = fixture.lab.router.spawn('timeout', ['60', process.execPath, program('rethrows.mjs'), String(fixture.num)]);
    await new Promise((resolve) => running.stdout.once('data', resolve));
    for (let i = 0; i < 3; i++) {
      await fixture.lab.send(1);
      await until('it is delivered', () => receiver.received.length === i + 1);
    }
    expect((await running).stdout).toBe('ready\nERR_LISTENER ERR_LISTENER ERR_LISTENER');
  });

  it('wakes up for nothing while nothing happens', async () => {
    const running = netns.spawn(process.execPath, ['--input-type=module', '--eval', `
      import { readFileSync } from 'node:fs';
      import { NfQueue } from ${JSON.stringify(import.meta.resolve('node-nfqueue'))};
      const queue = await NfQueue.open({ num: 2 });
      queue.on('packets', () => undefined);
      process.stdout.write('ready');
      setTimeout(() => process.exit(0), 20000);`]);
    await new Promise((resolve) => running.stdout.once('data', resolve));
    const switches = async (): Promise<number> => Number(/^voluntary_ctxt_switches:\s+(\d+)$/m.exec(await readFile(`/proc/${running.pid!}/status`, 'utf8'))?.[1]);
    await new Promise((resolve) => setTimeout(resolve, 500));
    const before = await switches();
    await new Promise((resolve) => setTimeout(resolve, 1500));
    expect((await switches()) - before).toBeLessThanOrEqual(1); // V8 may still be settling
    running.kill();
    await running;
  });
});

describe('Workers', () => {
  const workers: Worker[] = [];

  afterEach(async () => {
    for (const worker of workers.splice(0)) await worker.terminate();
  });

  function work(num: number, hold = false): { worker: Worker; last: { packets: number; ready?: boolean; closed?: boolean } } {
    const state = { worker: new Worker(program('worker.mjs'), { workerData: { num, hold, netns: fixture.lab.netns } }), last: { packets: 0 } };
    workers.push(state.worker);
    state.worker.on('message', (message: { packets: number }) => (state.last = message));
    return state;
  }

  it('have queues of their own, beside the main thread', async () => {
    receiver.clear();
    const first = work(fixture.num);
    const second = work(fixture.num + 1);
    const main = await fixture.open({ num: fixture.num + 2 });
    await until('both are ready', () => first.last.ready === true && second.last.ready === true);
    main.on('packets', (batch) => main.verdictUpTo(batch.lastId, { verdict: 'accept' }));
    const before = '-t raw -I PREROUTING -i lan0 -p udp -m statistic --mode nth';
    await fixture.lab.iptables(`${before} --every 3 --packet 0 -j NFQUEUE --queue-num ${fixture.num + 1}`);
    await fixture.lab.iptables(`${before} --every 3 --packet 1 -j NFQUEUE --queue-num ${fixture.num + 2}`);
    await fixture.lab.send(300);
    await until('300 delivered', () => receiver.received.length === 300);
    for (const { worker } of [first, second]) worker.postMessage('close');
    await until('both are closed', () => first.last.closed === true && second.last.closed === true);
    expect(first.last.packets + second.last.packets + main.stats().packets).toBe(300);
    expect(Math.min(first.last.packets, second.last.packets, main.stats().packets)).toBeGreaterThan(30);
    for (let i = 0; i < 2; i++) await fixture.lab.iptables('-t raw -D PREROUTING 1');
  });

  it('may be ended at any time: the queue is free again', async () => {
    for (let round = 0; round < 3; round++) {
      const { worker, last: initial } = work(fixture.num, true);
      expect(initial).toEqual({ packets: 0 });
      await new Promise((resolve) => worker.once('message', resolve));
      const sending = fixture.lab.send(200);
      if (round > 0) await new Promise((resolve) => worker.once('message', resolve));
      await worker.terminate();
      await sending;
      const queue = await fixture.open();
      expect(queue.stats().kernel).toMatchObject({ held: expect.any(Number), portId: expect.any(Number) });
      await queue.close();
    }
  });
});
