import { execFileSync } from 'node:child_process';
import { beforeAll, describe, expect, it } from '@jest/globals';
import { netfilterRequest } from 'node-nfqueue';
import { collect, Fixture } from './fixture.js';
import { until } from './lab.js';

const fixture = new Fixture(15);

/** Sends while the event loop stands still. */
function ping(count: number): void {
  execFileSync('ip', ['netns', 'exec', fixture.lab.sender.name, 'python3', '-c', `
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for i in range(${count}): s.sendto(b'%d' % i, ('10.2.0.2', 9))`]);
}

describe('poll', () => {
  it('reads what has arrived without a turn of the event loop, and gives the listener its say', async () => {
    const queue = await fixture.open();
    expect(queue.poll()).toBe(0);
    const packets = collect(queue);
    ping(20);
    expect(packets).toHaveLength(0);
    expect(queue.poll()).toBe(20);
    expect(packets).toHaveLength(20);
    expect(queue.verdicts(packets.map(({ id }) => id), { verdict: 'drop' })).toBe(20);
    expect(queue.poll()).toBe(0);
    expect(queue.stats()).toMatchObject({ packets: 20, verdicts: 20, held: 0, kernel: { held: 0 } });
  });

  it('waits for a listener, reads in bounds, and leaves a listener its batch', async () => {
    const queue = await fixture.open({ burst: 4 });
    ping(40);
    expect(queue.poll()).toBe(0);
    const inside: number[] = [];
    queue.on('packets', (batch) => {
      inside.push(queue.poll());
      for (const { id } of batch) queue.verdict(id, { verdict: 'drop' });
    });
    expect(queue.poll()).toBe(32);
    expect(inside).toEqual(Array(8).fill(0));
    await until('the rest', () => queue.stats().packets === 40);
    expect(queue.stats()).toMatchObject({ held: 0, listenerErrors: 0 });
    await queue.close();
    expect(() => queue.poll()).toThrow(expect.objectContaining({ code: 'ERR_CLOSED' }));
  });
});

describe('netfilterRequest', () => {
  // ipset's protocol: linux/netfilter/ipset/ip_set.h
  const ask = (command: number, ...names: readonly string[]): void => {
    netfilterRequest({ subsystem: 6, command, attributes: [{ type: 1, value: Uint8Array.of(6) }, ...names.map((value, index) => ({ type: 2 + index, value }))], netns: fixture.lab.netns });
  };
  const ipset = (...args: readonly string[]): Promise<string> => fixture.lab.router.run('ipset', args);

  beforeAll(async () => {
    await ipset('create', 'one', 'hash:net');
    await ipset('create', 'two', 'hash:net');
    await ipset('add', 'one', '10.0.0.0/8');
  });

  it('is carried out when it returns', async () => {
    ask(6, 'one', 'two');
    expect(await ipset('save')).toContain('add two 10.0.0.0/8');
    ask(6, 'two', 'one');
    expect(await ipset('save')).toContain('add one 10.0.0.0/8');
  });

  it('says what the kernel had against it', () => {
    expect(() => { ask(6, 'none', 'two'); }).toThrow(expect.objectContaining({ name: 'NfQueueError', code: 'ENOENT', errno: 2, syscall: 'netfilter request' }));
    expect(() => { ask(6, 'one', 'none'); }).toThrow(expect.objectContaining({ errno: 4101, code: 'E4101' }));
    expect(() => { ask(200); }).toThrow(expect.objectContaining({ errno: 22 }));
    expect(() => { ask(256); }).toThrow(expect.objectContaining({ code: 'ERR_INVALID_ARGUMENT' }));
    expect(() => { ask(6, 'x'.repeat(1024)); }).toThrow(expect.objectContaining({ code: 'ERR_INVALID_ARGUMENT' }));
    expect(() => { netfilterRequest({ subsystem: 6, command: 6, attributes: [], netns: 9999 }); }).toThrow(expect.objectContaining({ code: 'EBADF', syscall: 'setns' }));
  });
});
