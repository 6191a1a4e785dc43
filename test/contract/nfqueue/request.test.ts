import { execFileSync } from 'node:child_process';
import { beforeAll, describe, expect, it } from '@jest/globals';
import { netfilterRequest, routeRequest, type NetfilterRequest } from 'node-nfqueue';
import { collect, Fixture } from './fixture.js';

const fixture = new Fixture(15);

/** Sends while the event loop stands still. */
function flood(count: number): void {
  execFileSync('ip', ['netns', 'exec', fixture.lab.sender.name, 'python3', '-c', `
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for i in range(${count}): s.sendto(b'%d' % i, ('10.2.0.2', 9))`]);
}

// ipset's protocol: linux/netfilter/ipset/ip_set.h
const request = (command: number, ...names: readonly string[]): NetfilterRequest => ({
  subsystem: 6,
  command,
  attributes: [{ type: 1, value: Uint8Array.of(6) }, ...names.map((value, index) => ({ type: 2 + index, value }))],
});

describe('a request to netfilter', () => {
  const ask = (...words: Parameters<typeof request>): void => { netfilterRequest({ ...request(...words), netns: fixture.lab.netns }); };
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
    expect(() => { ask(6, 'none', 'two'); }).toThrow(expect.objectContaining({ name: 'NfQueueError', code: 'ENOENT', errno: 2, syscall: 'netlink request' }));
    expect(() => { ask(6, 'one', 'none'); }).toThrow(expect.objectContaining({ errno: 4101, code: 'E4101' }));
    expect(() => { ask(200); }).toThrow(expect.objectContaining({ errno: 22 }));
    expect(() => { ask(256); }).toThrow(expect.objectContaining({ code: 'ERR_INVALID_ARGUMENT' }));
    expect(() => { ask(6, 'x'.repeat(1024)); }).toThrow(expect.objectContaining({ code: 'ERR_INVALID_ARGUMENT' }));
    expect(() => { netfilterRequest({ subsystem: 6, command: 6, attributes: [], netns: 9999 }); }).toThrow(expect.objectContaining({ code: 'EBADF', syscall: 'setns' }));
  });

  it('goes out in a pause: what came before it has its verdict, and what came just then has it right after', async () => {
    const queue = await fixture.open({ burst: 4 });
    const packets = collect(queue);
    queue.on('packets', (batch) => { queue.verdictUpTo(batch.lastId, { verdict: 'drop' }); });
    flood(40);
    expect(packets).toHaveLength(0);
    queue.requestInPause(request(6, 'one', 'two'), { quietUs: 1000, withinUs: 1_000_000 });
    expect(packets).toHaveLength(40);
    expect(queue.stats()).toMatchObject({ packets: 40, verdicts: 40, held: 0, kernel: { held: 0 } });
    expect(await ipset('save')).toContain('add two 10.0.0.0/8');
    queue.requestInPause(request(6, 'two', 'one'));
    expect(await ipset('save')).toContain('add one 10.0.0.0/8');
  });

  it('does not wait where it must not, and reads no packets before there is a listener', async () => {
    const queue = await fixture.open({ burst: 4 });
    flood(40);
    queue.requestInPause(request(6, 'one', 'two'), { withinUs: 0 });
    expect(queue.stats()).toMatchObject({ packets: 0, kernel: { held: 40 } });
    const packets = collect(queue);
    queue.requestInPause(request(6, 'two', 'one'), { withinUs: 0 });
    expect(packets).toHaveLength(32); // a turn's worth, after it
  });

  it('is refused inside a listener of any queue, with nonsense, and after the end; and says what the kernel had against it', async () => {
    const [queue, other] = [await fixture.open(), await fixture.open({ num: 1015 })];
    const refused: unknown[] = [];
    queue.on('packets', (batch) => {
      for (const each of [queue, other]) {
        try {
          each.requestInPause(request(6, 'one', 'two'));
        } catch (error) {
          refused.push(error);
        }
      }
      queue.verdictUpTo(batch.lastId, { verdict: 'drop' });
    });
    flood(1);
    expect(() => { queue.requestInPause(request(6, 'none', 'two')); }).toThrow(expect.objectContaining({ code: 'ENOENT' }));
    const invalid: unknown = expect.objectContaining({ code: 'ERR_INVALID_ARGUMENT' });
    expect(refused).toEqual([invalid, invalid]);
    expect(() => { queue.requestInPause(request(6, 'one', 'two'), { quietUs: -1 }); }).toThrow(expect.objectContaining({ code: 'ERR_INVALID_ARGUMENT' }));
    await queue.close();
    expect(() => { queue.requestInPause(request(6, 'one', 'two')); }).toThrow(expect.objectContaining({ code: 'ERR_CLOSED' }));
  });
});

describe('a request to rtnetlink', () => {
  // struct fib_rule_hdr of linux/fib_rules.h for IPv4: to a table
  const header = Uint8Array.of(2, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0);
  const word = (value: number): Uint8Array => new Uint8Array(Uint32Array.of(value).buffer);
  const rule = (type: number, flags: number, table: number): void => { routeRequest({ type, flags, header, attributes: [{ type: 6, value: word(90) }, { type: 3, value: 'lo' }, { type: 15, value: word(table) }], netns: fixture.lab.netns }); };
  const rules = (): Promise<string> => fixture.lab.router.run('ip', ['-4', 'rule']);
  const [add, del, createAndExclusive] = [32, 33, 0x600];

  it('is carried out when it returns', async () => {
    rule(add, createAndExclusive, 20_800);
    expect(await rules()).toMatch(/^90:\tfrom all iif lo lookup 20800/m);
    rule(del, 0, 20_800);
    expect(await rules()).not.toContain('90:');
  });

  it('says what the kernel had against it', () => {
    rule(add, createAndExclusive, 20_800);
    expect(() => { rule(add, createAndExclusive, 20_800); }).toThrow(expect.objectContaining({ code: 'EEXIST', syscall: 'netlink request' }));
    rule(del, 0, 20_800);
    expect(() => { rule(del, 0, 20_800); }).toThrow(expect.objectContaining({ code: 'ENOENT' }));
    expect(() => { routeRequest({ type: 70_000, header, attributes: [] }); }).toThrow(expect.objectContaining({ code: 'ERR_INVALID_ARGUMENT' }));
    for (const bytes of [20, 7]) expect(() => { routeRequest({ type: 32, header: new Uint8Array(bytes), attributes: [] }); }).toThrow(expect.objectContaining({ code: 'ERR_INVALID_ARGUMENT' }));
  });
});
