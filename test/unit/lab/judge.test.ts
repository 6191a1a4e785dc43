import { describe, expect, it } from '@jest/globals';
import { counts, frameBytes } from '../../lab/capture.js';
import { changes, contextSwitches, parseQueues, withoutIptables, withoutLinkLocal } from '../../lab/judge.js';
import { sleep, until } from '../../lab/wait.js';

it('routes of link-local addresses, which come when the kernel is ready, are no change; others are', () => {
  const [own, other] = ['fd00:77::/64 dev lan0 proto kernel metric 256 pref medium', 'fe80::/10 dev tun0 metric 1024 pref medium'];
  const late = ['fe80::/64 dev lan0 proto kernel metric 256 pref medium', 'anycast fe80:: dev lan0 table local proto kernel metric 0 pref medium', 'local fe80::1 dev lan0 table local proto kernel metric 0 pref medium', 'multicast ff00::/8 dev lan0 table local proto kernel metric 256 pref medium'];
  expect(withoutLinkLocal([own, ...late, other].join('\n'))).toBe(`${own}\n${other}`);
});

describe('what tcpdump prints', () => {
  it('has the length of the frame before that of the payload', () => {
    expect(frameBytes('1763801234.567890 02:00:00:00:00:01 > 02:00:00:00:00:02, IPv4, length 98: 10.77.1.2 > 10.99.0.1: ICMP echo request, length 64')).toBe(98);
  });

  it('is refused when it has none', () => {
    expect(() => frameBytes('tcpdump: something else')).toThrow('no frame length');
  });

  it('tells its counts in one line on a signal and in three at the end', () => {
    const stderr = 'listening on wan0\ntcpdump: 12 packets captured, 13 packets received by filter, 1 packet dropped by kernel\n14 packets captured\n14 packets received by filter\n1 packet dropped by kernel\n';
    expect(counts(stderr)).toEqual([{ captured: 12, received: 13, dropped: 1 }, { captured: 14, received: 14, dropped: 1 }]);
  });
});

describe('the kernel\'s list of NFQUEUEs', () => {
  it('is read by column', () => {
    expect(parseQueues(' 7500  12345     3 2   128     4     5       99  1\n')).toEqual([{ queue: 7500, held: 3, queueDropped: 4, userDropped: 5, lastId: 99 }]);
  });

  it('may be empty', () => {
    expect(parseQueues('')).toEqual([]);
  });
});

describe('what two states of the network differ in', () => {
  it('is nothing between equal ones', () => {
    expect(changes(['route: a', 'route: b'], ['route: a', 'route: b'])).toEqual([]);
  });

  it('is what came and what went', () => {
    expect(changes(['route: a', 'route: b'], ['route: b', 'ipset: c'])).toEqual(['+ ipset: c', '- route: a']);
  });

  it('is no matter of the tables that iptables is the judge of', () => {
    expect(withoutIptables('table ip filter\ntable ip6 raw\ntable inet ours\ntable ip rawer').trim().split('\n').filter(Boolean)).toEqual(['table inet ours', 'table ip rawer']);
  });
});

describe('context switches', () => {
  it('are counted for a process that sleeps and wakes', async () => {
    const before = contextSwitches(process.pid);
    await sleep(20);
    expect(contextSwitches(process.pid)).toBeGreaterThan(before);
  });
});

describe('until', () => {
  it('gives what was seen', async () => {
    let looks = 0;
    expect(await until('three looks', () => (looks += 1) === 3 && 'seen', { everyMs: 1 })).toBe('seen');
  });

  it('names what was not seen', async () => {
    await expect(until('the impossible', () => false, { timeoutMs: 5, everyMs: 1 })).rejects.toThrow(/^not seen within \d+ ms: the impossible$/);
  });
});
