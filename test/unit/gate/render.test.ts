import { describe, expect, it } from '@jest/globals';
import type { GateTunnel, Marks } from '../../../src/core/ports.js';
import { parseGate, renderAddresses, renderSets, setsOf, setsStand } from '../../../src/gate/ipset.js';
import { conditionSwitching } from '../../../src/gate/condition.js';
import { parseCounters, parseSave, renderInstall, renderMend, renderRemoval, stands } from '../../../src/gate/iptables.js';
import { addressSet, anySet, domainSet, gateList, guardChain, isDomainSet, learnChain, heldChain, newSuffix, ownCountChain, ownSet, quietChain, tunnelId } from '../../../src/gate/names.js';
import { learnable, learnedPart, withLearned } from '../../../src/gate/learned.js';
import { gates, planOf, type Plan } from '../../../src/gate/plan.js';
import { routesIntoDevice } from '../../../src/gate/planned-tunnel.js';
import { formatNet, parseNet } from '../../../src/core/prefix.js';

const marks: Marks = { mask: 0x00c00000, transport: 0x00400000, release: 0x00800000, reject: 0x00c00000 };
const office: GateTunnel = { name: 'office', device: 'ovpn-office', queue: 7, protect: ['10.99.0.0/16', 'fd00:99::/48'], exclude: [], remotes: ['192.0.2.1'], onFailure: 'reject' };
const plan = (...tunnels: readonly GateTunnel[]): Plan => planOf(tunnels.length === 0 ? [office] : tunnels, { marks, lans: [], closingTable: 500 });

describe('names', () => {
  it.each(['office', 'a', 'Twelve345678', 'thirteen-chars', 'büro', 'x'.repeat(200), 'any4', 'any 4', 'open'])('of %p fit the kernel', (name) => {
    const id = tunnelId(name);
    expect(id).toMatch(/^[A-Za-z0-9-]{1,13}$/);
    for (const set of [ownSet(id, 6), addressSet(id, 6), domainSet(id, 6), ...gates.map((gate) => gateList(gate, 6))]) expect(`${set}${newSuffix}`.length).toBeLessThanOrEqual(31);
    for (const chain of [learnChain('out'), guardChain(id), ownCountChain(id), heldChain(id, 'out'), quietChain(id)]) expect(chain.length).toBeLessThanOrEqual(28);
    expect([domainSet(id, 4), ownSet(id, 4), addressSet(id, 4), anySet(4)].map(isDomainSet)).toEqual([true, false, false, false]);
    for (const common of [anySet(4), ...gates.map((gate) => gateList(gate, 4))]) expect([ownSet(id, 4), ownSet(id, 6)]).not.toContain(common);
  });

  it('of different tunnels differ', () => {
    expect(new Set(['thirteen-chars', 'thirteen-chart', 'thirteenchars', 'any4', 'any 4'].map(tunnelId)).size).toBe(5);
  });
});

describe('iptables', () => {
  it('puts the guard in first, and each table into one transaction', () => {
    const text = renderInstall(plan(), 4, []);
    expect(text.match(/^\*\w+$/gm)).toEqual(['*mangle', '*raw', '*filter', '*nat']);
    expect(text.match(/^COMMIT$/gm)).toHaveLength(4);
    expect(text).toContain('-A OOD-raw-in ! -i ovpn-office -m set --match-set ood-office-4 dst -j NFQUEUE --queue-num 7\n');
    expect(text).toContain('-I POSTROUTING 1 -m mark ! --mark 0x400000/0xc00000 -j OOD-guard\n');
    expect(text).toContain('-A OOD-guard -o ovpn-office -g OOD-guard-office\n-A OOD-guard -m set --match-set ood-office-4 dst -g OOD-kept\n');
    expect(text).toContain('-A OOD-guard-office -m set --match-set ood-office-4 dst -j RETURN\n-A OOD-guard-office -m set --match-set ood-office-4 dst -g OOD-kept\n');
    expect(text).toMatch(/-A OOD-kept -m set --match-set ood-bypass4 dst -j RETURN\n-A OOD-kept -j DROP\n/);
    expect(text).not.toContain('queue-bypass');
  });

  it('beside a flowtable lets nothing get to FORWARD that the guard would drop, but what is answered there', () => {
    const text = renderInstall(planOf([office, { ...office, name: 'fwd', device: 'ovpn-fwd', protect: ['10.98.0.0/16'] }], { marks, lans: [], closingTable: 500, guardForward: true }), 4, []);
    const linesOf = (chain: string): string[] => text.split('\n').filter((line) => line.startsWith(`-A ${chain} `)).map((line) => line.slice(chain.length + 4));
    expect(text).toContain('-I FORWARD 2 -m set --match-set ood-any4 dst -j OOD-fwd-guard\n');
    expect(linesOf('OOD-fwd-guard')).toEqual(['-o ovpn-office -m set --match-set ood-office-4 dst -j RETURN', '-o ovpn-fwd -m set --match-set ood-fwd-4 dst -j RETURN', '-g OOD-fwd-kept']);
    expect(linesOf('OOD-fwd-kept').slice(0, 2)).toEqual(['-m mark --mark 0xc00000/0xc00000 -j RETURN', '-m mark --mark 0x400000/0xc00000 -j RETURN']);
    expect(linesOf('OOD-fwd-kept').slice(-3)).toEqual(['-m set --match-set ood-bypass4 dst -j RETURN', '-m set --match-set ood-reject4 dst -j RETURN', '-j DROP']);
    expect(renderInstall(plan(), 4, [])).not.toContain('OOD-fwd-guard');
  });

  it('replaces what is there within the same transaction', () => {
    const found = parseSave('# comment\n*raw\n:PREROUTING ACCEPT [1:2]\n:OOD-raw-in - [0:0]\n:OOD-old - [0:0]\n-A PREROUTING -j OOD-old\n-A PREROUTING -s 10.0.0.0/8 -j ACCEPT\n-A PREROUTING -g OOD-raw-in\n-A OOD-old -j OOD-raw-in\nCOMMIT\n*filter\n-A INPUT -j DROP\nCOMMIT\n');
    expect(found).toEqual([{ table: 'raw', chains: ['OOD-raw-in', 'OOD-old'], jumps: ['PREROUTING -j OOD-old', 'PREROUTING -g OOD-raw-in'] }]);
    const raw = /\*raw\n([^]*?)COMMIT/.exec(renderInstall(plan(), 4, found))?.[1]?.split('\n') ?? [];
    expect(raw.filter((line) => line.includes('OOD-old') || line.startsWith('-D') || line.startsWith('-I'))).toEqual([
      ':OOD-old - [0:0]', '-D PREROUTING -j OOD-old', '-D PREROUTING -g OOD-raw-in', '-I PREROUTING 1 -i ovpn-office -j OOD-count', '-I PREROUTING 2 ! -i ovpn-office -m set --match-set ood-office-4 dst -j OOD-raw-in', '-I OUTPUT 1 -m mark ! --mark 0x400000/0xc00000 -m set --match-set ood-office-4 dst -j OOD-raw-out', '-X OOD-old',
    ]);
  });

  it('removes the guard last, and nothing where nothing is', () => {
    const found = ['mangle', 'nat', 'raw', 'security'].map((table) => ({ table, chains: ['OOD-x'], jumps: ['OUTPUT -j OOD-x'] }));
    expect(renderRemoval(found).match(/^\*\w+$/gm)?.at(-2)).toBe('*mangle');
    expect(renderRemoval([])).toBe('');
    expect(renderInstall(plan({ ...office, protect: ['10.0.0.0/8'] }), 6, [])).toBe('');
  });

  it('gives only tunnels that say which packets count more than the usual rules', () => {
    const lab: GateTunnel = { ...office, name: 'lab', device: 'ovpn-lab', queue: 8, protect: ['10.98.0.0/16'], ignore: [{ protocol: 'udp', ports: { first: 137, last: 138 }, to: '10.98.1.0/24' }, { protocol: 'icmp', to: 'fd00:98::/48' }], wake: 'forwarded', wakeFrom: ['lan0', 'br-*'] };
    const rulesOf = (name: string, text: string): string[] => text.split('\n').filter((line) => line.startsWith('-A') && line.includes(name));
    const both = renderInstall(plan(office, lab), 4, []);
    expect(rulesOf('office', both)).toEqual(rulesOf('office', renderInstall(plan(office, { ...lab, ignore: [], wake: 'both' }), 4, [])));
    expect(rulesOf('lab', both)).toEqual(expect.arrayContaining([
      '-A OOD-raw-in ! -i ovpn-lab -m set --match-set ood-lab-4 dst -j OOD-in-lab',
      '-A OOD-raw-in ! -i ovpn-lab -m set --match-set ood-lab-4 dst -m set --match-set ood-reject4 dst -p udp -m udp --dport 137:138 -d 10.98.1.0/24 -j DROP',
      '-A OOD-raw-out -m set --match-set ood-lab-4 dst -j OOD-out-lab',
      '-A OOD-guard-lab -p udp -m udp --dport 137:138 -d 10.98.1.0/24 -m set --match-set ood-lab-4 dst -j RETURN',
      '-A OOD-count -i ovpn-lab -j OOD-count-lab',
      '-A OOD-count-lab -p udp -m udp --sport 137:138 -s 10.98.1.0/24 -j RETURN',
      '-A OOD-count-lab -m set --match-set ood-lab-4 src',
    ]));
    expect(rulesOf('-A OOD-in-lab', both)).toEqual([
      '-A OOD-in-lab -p udp -m udp --dport 137:138 -d 10.98.1.0/24 -j DROP', '-A OOD-in-lab -i lan0 -j NFQUEUE --queue-num 8', '-A OOD-in-lab -i br-+ -j NFQUEUE --queue-num 8', '-A OOD-in-lab -j MARK --set-xmark 0xc00000/0xc00000',
    ]);
    expect(rulesOf('-A OOD-out-lab', both).at(-1)).toBe('-A OOD-out-lab -j MARK --set-xmark 0xc00000/0xc00000');
  });

  it('gives only tunnels with domains rules for addresses that nobody knows yet', () => {
    const lab: GateTunnel = { ...office, name: 'lab', device: 'ovpn-lab', queue: 8, protect: [], domains: ['lab.example'] };
    const both = renderInstall(plan(office, lab), 4, []).split('\n');
    const usual = renderInstall(plan(office, { ...lab, protect: ['10.98.0.0/16'], domains: [] }), 4, []).split('\n');
    expect(both.filter((line) => !usual.includes(line) && !line.startsWith(':OOD-') && !line.startsWith('-A OOD-learn-out'))).toEqual([
      '-A OOD-guard-office -m set --match-set ood-lab-dns4 dst -g OOD-kept',
      '-A OOD-guard -m set --match-set ood-lab-dns4 dst -g OOD-kept',
      '-I PREROUTING 3 ! -i ovpn-lab -m set --match-set ood-lab-dns4 dst -m set ! --match-set ood-any4 dst -j OOD-learn-in',
      '-I OUTPUT 2 -m mark ! --mark 0x400000/0xc00000 -m set --match-set ood-lab-dns4 dst -m set ! --match-set ood-any4 dst -j OOD-learn-out',
      ...['LOCAL', 'BROADCAST', 'MULTICAST'].map((type) => `-A OOD-learn-in -m addrtype --dst-type ${type} -j RETURN`),
      '-A OOD-learn-in -m set --match-set ood-lab-dns4 dst -j NFQUEUE --queue-num 32776',
    ]);
    expect(usual.filter((line) => !both.includes(line))).toEqual([]);
    expect(both).toContain('-A OOD-learn-out -m set --match-set ood-remote4 dst -j RETURN');
    // both families, since nobody knows what a domain stands for
    expect(renderInstall(plan({ ...lab, domains: [] }), 6, [])).toBe('');
    expect(renderInstall(plan(lab), 6, [])).toContain('-A OOD-learn-in -m set --match-set ood-lab-dns6 dst -j NFQUEUE --queue-num 32776\n');
  });

  it('stands if every chain has its rules, and every chain of the system leads to ours', () => {
    const saved = renderInstall(plan(), 4, []).replaceAll(/^-I (\w+) \d+/gm, '-A $1');
    expect(stands(plan(), 4, `${saved}-A FORWARD -j DOCKER\n`)).toBe(true);
    const lines = saved.split('\n');
    for (const lost of lines.filter((line) => line.startsWith('-A'))) expect({ lost, stands: stands(plan(), 4, lines.filter((line) => line !== lost).join('\n')) }).toEqual({ lost, stands: false });
  });

  it('mends what is gone and leaves alone what stands: somebody may still be taking it away', () => {
    const saved = renderInstall(plan(), 4, []).replaceAll(/^-I (\w+) \d+/gm, '-A $1');
    const without = (...lost: readonly RegExp[]): string => saved.split('\n').filter((line) => !lost.some((pattern) => pattern.test(line))).join('\n');
    const mended = (...lost: readonly RegExp[]) => {
      const text = renderMend(plan(), 4, without(...lost));
      return { tables: text.match(/^\*\w+$/gm), deleted: text.match(/^-D .*$/gm), inserted: text.match(/^-I \w+/gm) };
    };
    expect(renderMend(plan(), 4, saved)).toBe('');
    // a table flushed
    expect(mended(/OOD-raw-|OOD-count/)).toEqual({ tables: ['*raw'], deleted: null, inserted: ['-I PREROUTING', '-I PREROUTING', '-I OUTPUT'] });
    // a chain of ours
    expect(mended(/^-A OOD-raw-in /)).toEqual({ tables: ['*raw'], deleted: null, inserted: null });
    // one of two jumps
    expect(mended(/-j OOD-count/)).toEqual({ tables: ['*raw'], deleted: [expect.stringContaining('OOD-raw-in'), expect.stringContaining('OOD-raw-out')], inserted: ['-I PREROUTING', '-I PREROUTING', '-I OUTPUT'] });
    expect(mended(/^-A/).tables).toEqual(['*mangle', '*raw', '*filter', '*nat']);
  });

  it('asks for the open gates before anything that takes longer', () => {
    const text = renderInstall(plan(), 4, []);
    for (const chain of ['OOD-raw-in', 'OOD-raw-out']) expect(text.split('\n').find((line) => line.startsWith(`-A ${chain} `))).toBe(`-A ${chain} -m set --match-set ood-open4 dst -j RETURN`);
    expect(text).toContain('-A OOD-forward -m mark --mark 0xc00000/0xc00000 -g OOD-answer\n-A OOD-forward -m set --match-set ood-reject4 dst -g OOD-rejected-fwd\nCOMMIT'.replace('COMMIT', '-A OOD-output'));
  });

  it('reads the counters that are planned, whatever else is in the chain', () => {
    const ignoring = plan({ ...office, ignore: [{ protocol: 'udp', ports: { first: 123, last: 123 } }] });
    const packetsOf = (line: string): number => (line.startsWith("-A OOD-guard-office -m set --match-set ood-office-4 dst -j RETURN") ? 7 : line.startsWith("-A OOD-count-office -m set") ? 18 : 1000);
    const saved = renderInstall(ignoring, 4, []).split('\n').map((line) => (line.startsWith('-A') ? `[${packetsOf(line)}:99] ${line}` : line)).join('\n');
    expect(parseCounters(ignoring, 4, saved)).toEqual(new Map([['office', { out: 7, in: 18 }]]));
    expect(parseCounters(ignoring, 6, '')).toEqual(new Map([['office', { out: 0, in: 0 }]]));
  });

  it('with conditions has a rule for each tunnel where others have one', () => {
    const { matchGate } = conditionSwitching();
    const two = plan(office, { ...office, name: 'other', device: 'ovpn-other', protect: ['10.1.0.0/16'] });
    const text = renderInstall(two, 4, [], matchGate);
    const not = (id: string): string => ['hold', 'reject', 'bypass'].map((gate) => `-m condition ! --condition ood-${id}-${gate}`).join(' ');
    expect(text).toContain(`-A OOD-raw-in -m set --match-set ood-office-4 dst ${not('office')} -j RETURN\n-A OOD-raw-in -m set --match-set ood-other-4 dst ${not('other')} -j RETURN\n`);
    expect(text).toContain('-A OOD-raw-in ! -i ovpn-other -m set --match-set ood-other-4 dst -m condition --condition ood-other-hold -j NFQUEUE --queue-num 7\n');
    const saved = text.replaceAll(/^-I (\w+) \d+/gm, '-A $1');
    expect([stands(two, 4, saved, matchGate), stands(two, 4, saved)]).toEqual([true, false]);
  });
});

describe('ipset', () => {
  it('fills new sets directly, and those that are there aside', () => {
    expect(renderSets(plan(), new Set())).toContain('create ood-office-4 hash:net family inet maxelem 65536\nadd ood-office-4 10.99.0.0/16\n');
    const again = renderSets(plan(), new Set([...setsOf(plan()), 'ood-office-4~']));
    expect(again).toContain('destroy ood-office-4~\ncreate ood-office-4~ hash:net family inet maxelem 65536\nadd ood-office-4~ 10.99.0.0/16\nswap ood-office-4~ ood-office-4\ndestroy ood-office-4~\n');
    expect(again).not.toMatch(/^create ood-open/m);
  });

  it('makes the sets that dnsmasq fills, and never touches those that are there', () => {
    const corp = plan({ ...office, domains: ['corp.example'] });
    expect(renderSets(corp, new Set())).toContain('create ood-office-dns4 hash:ip family inet maxelem 262144\ncreate ood-office-dns6 hash:ip family inet6 maxelem 262144\n');
    expect(setsOf(corp)).toEqual(expect.arrayContaining(['ood-office-dns4', 'ood-office-dns6']));
    expect(renderSets(corp, new Set(setsOf(corp)))).not.toContain('-dns');
    expect(setsOf(plan()).some(isDomainSet)).toBe(false);
  });

  it('has what was learned in the tunnel\'s set and in that of all', () => {
    const corp: GateTunnel = { ...office, domains: ['corp.example'], linkRoutes: 2 };
    const one = plan(corp);
    const [before] = one.tunnels;
    const learned = withLearned(one, learnedPart(before!, [parseNet('203.0.113.7')]));
    const text = renderSets(learned, new Set());
    expect(text.match(/^add \S+ 203\.0\.113\.7$/gm)).toEqual(['add ood-office-4 203.0.113.7', 'add ood-any4 203.0.113.7']);
    // the link was given its routes before anybody knew of this one
    const { byLink, byGate } = routesIntoDevice(learned.tunnels[0]!);
    expect([byLink.map(formatNet), byGate.map(formatNet)]).toEqual([['10.99.0.0/16', 'fd00:99::/48'], ['203.0.113.7/32']]);
  });

  it('takes of what domains stand for what can be a tunnel\'s, as far as there is room, and knows what it has', () => {
    const lab = { ...office, domains: ['lab.example'] };
    const one = plan(lab);
    const [own] = one.tunnels;
    const nets = ['203.0.113.7', '192.0.2.1', '127.0.0.1', '203.0.113.8'].map(parseNet);
    const known = withLearned(one, learnedPart(own!, nets.slice(0, 1)));
    const asked = (most: number) => {
      const { all, fresh, tooMany } = learnable(known, known.tunnels[0]!, nets, most);
      return { all: all.map(formatNet), fresh: fresh.map(formatNet), tooMany };
    };
    expect(asked(2)).toEqual({ all: ['203.0.113.7/32', '203.0.113.8/32'], fresh: ['203.0.113.8/32'], tooMany: false });
    expect(asked(1)).toEqual({ all: ['203.0.113.7/32'], fresh: [], tooMany: true });
  });

  it('closes every gate before any set is filled', () => {
    const lines = renderSets(plan(), new Set(setsOf(plan()))).split('\n');
    expect(lines.slice(0, 6)).toEqual(['open4', 'reject4', 'bypass4', 'open6', 'reject6', 'bypass6'].map((list) => `flush ood-${list}`));
  });

  it('splits what is everything, since hash:net has no length 0', () => {
    const text = renderSets(plan({ ...office, protect: ['0.0.0.0/0'], exclude: ['10.0.0.0/8'] }), new Set());
    expect(text).toContain('add ood-office-4 0.0.0.0/1\nadd ood-office-4 128.0.0.0/1\n');
    expect(text).toContain('add ood-office-4 10.0.0.0/8 nomatch\n');
    expect(text).toContain('add ood-office-4 255.255.255.255 nomatch\n');
  });

  it('stands if all sets are there, with addresses, and the lists have whose gate it is', () => {
    const list = (sizeOf: (name: string) => number): string => setsOf(plan()).map((name) => `Name: ${name}\nType: hash:net\nNumber of entries: ${sizeOf(name)}\n`).join('\n');
    const usual = (name: string): number => (/^ood-(reject|bypass)|-a[46]$/.test(name) ? 0 : 1);
    const open = () => 'open' as const;
    expect(setsStand(plan(), list((name) => (name === 'ood-remote6' ? 0 : usual(name))), open)).toBe(true);
    for (const empty of ['ood-office-4', 'ood-open4', 'ood-open6']) expect(setsStand(plan(), list((name) => (name === empty ? 0 : usual(name))), open)).toBe(false);
    expect([setsStand(plan(), list(usual), () => 'hold'), setsStand(plan(), list(usual), () => undefined)]).toEqual([false, true]);
    expect(setsStand(plan(), list(usual).replace('Name: ood-bypass4\n', 'Name: other\n'), open)).toBe(false);
  });

  it('replaces the own addresses of each family by one swap', () => {
    expect(renderAddresses('office', [4], [{ family: 4, address: '10.8.0.6' }, { family: 6, address: 'fd00:8::6' }])).toBe('create ood-office-a4~ hash:ip family inet hashsize 64 maxelem 64 -exist\nflush ood-office-a4~\nadd ood-office-a4~ 10.8.0.6\nswap ood-office-a4~ ood-office-a4\ndestroy ood-office-a4~\n');
  });

  it('finds the gate that is on: the list that has the sets of all families', () => {
    const both = { id: 'office', families: [4, 6] } as const;
    const saved = (...lines: readonly string[]): string => [...setsOf(plan()).map((name) => `create ${name} list:set size 8`), ...lines].join('\n');
    expect(parseGate(both, saved('add ood-open4 ood-office-4', 'add ood-open6 ood-office-6', 'add ood-reject4 ood-office2-4'))).toBe('open');
    expect(parseGate(both, saved('add ood-open4 ood-office-4'))).toBeUndefined();
    expect(parseGate({ ...both, families: [4] }, saved('add ood-open4 ood-office-4', 'add ood-reject4 ood-office-4'))).toBeUndefined();
    expect([parseGate(both, saved()), parseGate(both, '')]).toEqual(['hold', undefined]);
  });
});

describe('plan', () => {
  it('leaves a family out that nobody needs', () => {
    expect(plan({ ...office, protect: ['10.0.0.0/8'] }).families).toEqual([4]);
    expect(plan(office, { ...office, name: 'six', protect: ['fd00:1::/32'] }).tunnels.map(({ families }) => families)).toEqual([[4, 6], [6]]);
  });

  it('has a union only where there is more than one tunnel', () => {
    expect(setsOf(plan()).filter((name) => name.startsWith('ood-any'))).toEqual([]);
    const two = plan(office, { ...office, name: 'other', protect: ['10.1.0.0/16'] });
    expect(setsOf(two).filter((name) => name.startsWith('ood-any'))).toEqual(['ood-any4']);
    expect(renderInstall(two, 4, [])).toContain('-I OUTPUT 1 -m mark ! --mark 0x400000/0xc00000 -m set --match-set ood-any4 dst -j OOD-raw-out\n');
    expect(renderInstall(two, 6, [])).toContain('-I OUTPUT 1 -m mark ! --mark 0x400000/0xc00000 -m set --match-set ood-office-6 dst -j OOD-raw-out\n');
  });

  it('names a server of two tunnels once', () => {
    expect(plan(office, { ...office, name: 'other', protect: ['10.1.0.0/16'] }).remotes).toHaveLength(1);
  });
});
