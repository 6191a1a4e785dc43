import { readFile } from 'node:fs/promises';
import { afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import type { Netns } from '../../lab/netns.js';
import { Fixture } from './fixture.js';
import { until, type Receiver } from './lab.js';

const fixture = new Fixture(5);
let receiver: Receiver;
let examples: Map<string, string>;
let running: ReturnType<Netns['spawn']> | undefined;

/** Starts an example of the README, in the router's namespace or in this process's. */
async function start(name: string, { inside = true, args = [] as string[] } = {}): Promise<{ lines: () => string[] }> {
  const code = examples.get(name);
  if (code === undefined) throw new Error(`the README has no example ${name}`);
  const command = [process.execPath, '--input-type=module', '--eval', code, 'example', ...args];
  const started = inside ? fixture.lab.router.spawn(command[0]!, command.slice(1)) : fixture.lab.router.spawn('nsenter', ['-t', String(process.pid), '-n', ...command]);
  running = started;
  let output = '';
  started.stdout.on('data', (data: Buffer) => (output += data.toString()));
  let opened = false;
  while (!opened) {
    const queues = await fixture.lab.router.run('cat', ['/proc/net/netfilter/nfnetlink_queue']);
    opened = /^\s*5 /m.test(queues);
    if (started.exitCode !== null) throw new Error(`the example ended: ${(await started).stderr}`);
  }
  return { lines: () => output.split('\n').filter(Boolean) };
}

beforeAll(async () => {
  receiver = await fixture.lab.listen();
  const text = await readFile(new URL('../../../src/nfqueue/native/README.md', import.meta.url), 'utf8');
  examples = new Map(Array.from(text.matchAll(/<!-- example: (\w+) -->\n```js\n(.*?)```/gs), ([, name = '', code = '']) => [name, code]));
});

afterEach(async () => {
  receiver.clear();
  running?.kill('SIGKILL');
  await running;
});

describe('the examples of the README', () => {
  it('accept and print', async () => {
    const { lines } = await start('accept');
    await fixture.lab.send(3);
    await until('3 delivered', () => receiver.received.length === 3);
    await until('3 lines', () => lines().length === 3);
    expect(lines()).toEqual(Array<string>(3).fill('lan0: 10.1.0.2 → 10.2.0.2 udp 92 bytes'));
  });

  it('hold, and release on a signal', async () => {
    const { lines } = await start('hold');
    await fixture.lab.send(100);
    await until('100 held', () => lines().at(-1)?.endsWith('100 held') === true);
    running!.kill('SIGUSR1');
    await running;
    await until('100 delivered', () => receiver.received.length === 100);
    expect(lines().at(-1)).toBe('100 released, 0 were gone');
  });

  it('decide packet by packet', async () => {
    await fixture.lab.iptables('-t mangle -A FORWARD -m mark --mark 0x10');
    await start('each');
    await fixture.lab.send(4);
    await until('4 delivered', () => receiver.received.length === 4);
    expect(await fixture.lab.iptables('-t mangle -nvxL FORWARD')).toMatch(/^\s*4 .*mark match 0x10/m);
  });

  it('tell of losses', async () => {
    const { lines } = await start('losses');
    await fixture.lab.send(120);
    await until('the overflow is told', () => lines().includes('lost: 20 since the queue was full, 0 since nobody read'));
    await fixture.lab.router.ip('link set lan0 down');
    await fixture.lab.router.ip('link set lan0 up');
    await until('the flush is told', () => lines().includes('the kernel dropped 100 held packets, 0 are left'));
  });

  it('work on another namespace', async () => {
    const { lines } = await start('namespace', { inside: false, args: [fixture.lab.router.name] });
    await fixture.lab.send(1);
    await until('a packet', () => lines().length === 1);
    expect(lines()).toEqual(['lan0']);
    await until('it is delivered', () => receiver.received.length === 1);
  });

  it('are all tried here', () => {
    expect([...examples.keys()]).toEqual(['accept', 'hold', 'each', 'losses', 'namespace']);
  });
});
