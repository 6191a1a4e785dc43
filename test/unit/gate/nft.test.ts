import { describe, expect, it } from '@jest/globals';
import type { GateTunnel, Marks } from '../../../src/core/ports.js';
import { nftStands, parseNftCounters, parseNftGate, parseTable, renderNftAdded, renderNftAddresses, renderNftInstall, renderNftOpen, renderNftRemoval, renderNftSwitch } from '../../../src/gate/nft.js';
import { parseNet } from '../../../src/core/prefix.js';
import { planOf } from '../../../src/gate/plan.js';
import { mayBeOurs } from '../../../src/gate/watch.js';

const marks: Marks = { mask: 0x00c00000, transport: 0x00400000, release: 0x00800000, reject: 0x00c00000 };
const office: GateTunnel = { name: 'office', device: 'ovpn-office', queue: 7, protect: ['10.99.0.0/16'], exclude: [], remotes: ['192.0.2.1'], onFailure: 'reject' };
const silent: GateTunnel = { ...office, name: 'silent', device: 'ovpn-silent', queue: 8, protect: ['fd00:99::/48'], onFailure: 'drop' };
const plan = planOf([office, silent], { marks, lans: [], closingTable: 500 });

/** As nft prints it. */
const listing = `table inet openvpn_ondemand {
	counter in-office-4 {
		packets 3 bytes 87
	}

	set ood-office-4 {
		type ipv4_addr
		flags interval
	}

	chain hook-raw-prerouting {
		type filter hook prerouting priority raw - 10; policy accept;
		ip daddr @ood-office-4 jump OOD-raw-in-4
	}

	chain hook-mangle-postrouting {
		type filter hook postrouting priority mangle - 10; policy accept;
	}

	chain gate-office-hold-queue-4 {
		ip daddr @ood-office-4 queue to 7
	}

	chain gates-open-return-4 {
		ip daddr @ood-other-4 accept
	}

	chain gates-reject-goto-OOD-rejected-fwd-4 {
	}

	chain gate-old-hold-queue-4 {
	}
}
`;

describe('nft', () => {
  it('reads its own table', () => {
    const found = parseTable(listing);
    expect(found.chains).toEqual(['hook-raw-prerouting', 'hook-mangle-postrouting', 'gate-office-hold-queue-4', 'gates-open-return-4', 'gates-reject-goto-OOD-rejected-fwd-4', 'gate-old-hold-queue-4']);
    expect([found.sets, found.counters]).toEqual([['ood-office-4'], ['in-office-4']]);
    expect([...found.rules.keys()]).toEqual(['hook-raw-prerouting', 'gate-office-hold-queue-4', 'gates-open-return-4']);
  });

  it('makes sets for dnsmasq to fill once, and leaves them alone from then on', () => {
    const corp = planOf([{ ...office, domains: ['corp.example'] }, silent], { marks, lans: [], closingTable: 500 });
    const table = `${listing.slice(0, -2)}\tset ood-office-dns4 {\n\t\ttype ipv4_addr\n\t}\n\n\tset ood-gone-dns4 {\n\t\ttype ipv4_addr\n\t}\n}\n`;
    const found = parseTable(table);
    const about = (text: string): readonly string[] => text.split('\n').filter((line) => / set .*-dns/.test(line));
    expect(about(renderNftInstall(corp, undefined))).toEqual(['add set inet openvpn_ondemand ood-office-dns4 { type ipv4_addr; }', 'add set inet openvpn_ondemand ood-office-dns6 { type ipv6_addr; }']);
    expect(about(renderNftInstall(corp, found))).toEqual(['delete set inet openvpn_ondemand ood-gone-dns4', 'add set inet openvpn_ondemand ood-office-dns6 { type ipv6_addr; }']);
    expect(about(renderNftInstall(plan, found))).toEqual(['delete set inet openvpn_ondemand ood-office-dns4', 'delete set inet openvpn_ondemand ood-gone-dns4']);
    expect(renderNftInstall(corp, undefined)).toContain('add rule inet openvpn_ondemand hook-raw-prerouting meta nfproto ipv4 iifname != "ovpn-office" ip daddr @ood-office-dns4 ip daddr != @any4 jump OOD-learn-in-4\n');
    expect(renderNftRemoval(found, false)).toBe('delete table inet openvpn_ondemand\n');
    expect(renderNftRemoval(parseTable(listing), true)).toBe('delete table inet openvpn_ondemand\n');
    const kept = renderNftRemoval(found, true);
    expect(kept).toContain('flush table inet openvpn_ondemand\ndelete chain inet openvpn_ondemand hook-raw-prerouting\n');
    expect(kept.split('\n').slice(-3)).toEqual(['delete set inet openvpn_ondemand ood-office-4', 'delete counter inet openvpn_ondemand in-office-4', '']);
  });

  it('adds what was learned to the tunnel\'s set, and to that of all', () => {
    const addresses = ['203.0.113.7', '2001:db8:7::7', '203.0.113.8'].map(parseNet);
    expect(renderNftAdded(addresses, 'office')).toBe('add element inet openvpn_ondemand ood-office-4 { 203.0.113.7, 203.0.113.8 }\nadd element inet openvpn_ondemand ood-office-6 { 2001:db8:7::7 }\n');
    expect(renderNftAdded(addresses.slice(0, 1))).toBe('add element inet openvpn_ondemand any4 { 203.0.113.7 }\n');
  });

  it('finds the gate that is on: the one whose chains have the set, else hold', () => {
    const found = parseTable(listing);
    const gateOf = (id: string) => parseNftGate({ id, families: [4] }, found);
    expect([gateOf('other'), gateOf('office')]).toEqual(['open', 'hold']);
    expect(parseNftGate({ id: 'office', families: [4] }, parseTable(''))).toBeUndefined();
    expect(parseNftGate({ id: 'other', families: [4] }, { ...found, rules: new Map([...found.rules, ['gates-reject-return-4', ['ip daddr @ood-other-4 accept']]]) })).toBeUndefined();
  });

  it('refills a table that is there in one transaction, and deletes no base chain', () => {
    const lines = renderNftInstall(plan, parseTable(listing)).split('\n');
    expect(lines.slice(0, 2)).toEqual(['add table inet openvpn_ondemand', 'flush table inet openvpn_ondemand']);
    expect(lines.filter((line) => line.startsWith('delete '))).toEqual(['delete chain inet openvpn_ondemand gate-old-hold-queue-4', 'delete set inet openvpn_ondemand ood-office-4', 'delete counter inet openvpn_ondemand in-office-4']);
    expect(lines).toContain('add rule inet openvpn_ondemand gate-office-hold-queue-4 ip daddr @ood-office-4 queue num 7');
    expect(lines).toContain('add rule inet openvpn_ondemand OOD-guard-office-4 ip daddr @ood-office-4 counter name out-office-4 return');
    expect(renderNftInstall(plan, undefined)).not.toMatch(/^(flush|delete)/m);
  });

  it('switches a gate by chains only: its own, and those of all tunnels', () => {
    const text = renderNftSwitch(plan, 'silent', (id) => (id === 'silent' ? 'reject' : 'open'));
    expect(text).toContain('add rule inet openvpn_ondemand gates-reject-goto-OOD-rejected-fwd-6 ip6 daddr @ood-silent-6 goto OOD-rejected-fwd-6\n');
    expect(text).toContain('add rule inet openvpn_ondemand gates-open-return-4 ip daddr @ood-office-4 accept\n');
    expect(text).toContain('flush chain inet openvpn_ondemand gate-silent-hold-queue-6\n');
    expect(text).not.toContain('gate-office');
    expect(text).not.toMatch(/element|\bset\b/);
    expect(renderNftSwitch(plan, 'office', () => 'hold')).not.toContain('gates-open-return-4 ip');
  });

  it('has an unknown family\'s packets pass no chain of the other', () => {
    expect(renderNftInstall(plan, undefined)).toContain('add rule inet openvpn_ondemand hook-mangle-postrouting meta nfproto ipv4 meta mark & 0xc00000 != 0x400000 jump OOD-guard-4\n');
  });

  it('masquerades what is the tunnel\'s and has none of its addresses, and changes these by a chain, not a set', () => {
    const install = renderNftInstall(plan, undefined);
    expect(install).toContain('add rule inet openvpn_ondemand OOD-nat-4 oifname "ovpn-office" ip daddr @ood-office-4 jump nat-office-4\n');
    expect(install).toContain('add rule inet openvpn_ondemand nat-office-4 masquerade\n');
    expect(renderNftAddresses('office', [4, 6], [{ family: 4, address: '10.8.0.6' }])).toBe([
      'flush chain inet openvpn_ondemand nat-office-4', 'add rule inet openvpn_ondemand nat-office-4 ip saddr != { 10.8.0.6 } masquerade',
      'flush chain inet openvpn_ondemand nat-office-6', 'add rule inet openvpn_ondemand nat-office-6 masquerade', '',
    ].join('\n'));
  });

  it('stands while nothing but the rules of gates is missing', () => {
    const install = renderNftInstall(plan, undefined);
    const names = (what: string): string[] => [...install.matchAll(new RegExp(`^add ${what} \\S+ \\S+ (\\S+)`, 'gm'))].map(([, name = '']) => name);
    const whole = { chains: names('chain'), sets: names('set'), counters: names('counter'), rules: new Map(names('rule').map((name): [string, readonly string[]] => [name, ['a rule']])) };
    const without = (lost: string) => new Map([...whole.rules].filter(([name]) => name !== lost));
    expect(nftStands(plan, whole)).toBe(true);
    expect(nftStands(plan, { ...whole, rules: without('gate-office-hold-queue-4') })).toBe(true);
    expect(['hook-raw-prerouting', 'OOD-guard-office-4', 'nat-office-4'].map((lost) => nftStands(plan, { ...whole, rules: without(lost) }))).toEqual([false, false, false]);
    for (const part of ['chains', 'sets', 'counters'] as const) expect(nftStands(plan, { ...whole, [part]: whole[part].slice(1) })).toBe(false);
  });

  it.each([
    ['delete rule ip raw OOD-raw-in handle 4', true],
    ['delete rule ip6 mangle POSTROUTING handle 2', true],
    ['delete rule inet openvpn_ondemand hook-raw-output handle 7', true],
    ['delete rule inet openvpn_ondemand OOD-guard-office-4 handle 7', true],
    ['delete rule inet openvpn_ondemand gate-office-hold-queue-4 handle 7', false],
    ['delete rule inet openvpn_ondemand gates-open-return-4 handle 7', false],
    ['delete rule inet openvpn_ondemand nat-office-4 handle 7', false],
    ['delete rule ip filter DOCKER handle 4', false],
    ['delete rule inet firewalld raw_PREROUTING handle 4', false],
    ['# new generation 4 by process 32022 (nft)', false],
  ])('%s: may be ours: %p', (line, ours) => {
    expect(mayBeOurs(line)).toBe(ours);
  });

  it('takes all away but the guard', () => {
    expect(renderNftOpen(parseTable(listing))).toBe('flush chain inet openvpn_ondemand hook-raw-prerouting\n');
  });

  it('adds up the counters of both families', () => {
    const text = 'table inet openvpn_ondemand {\n\tcounter in-office-4 {\n\t\tpackets 3 bytes 87\n\t}\n\tcounter out-office-4 {\n\t\tpackets 5 bytes 1\n\t}\n\tcounter out-silent-6 {\n\t\tpackets 7 bytes 1\n\t}\n}\n';
    expect(parseNftCounters(plan, text)).toEqual(new Map([['office', { out: 5, in: 3 }], ['silent', { out: 7, in: 0 }]]));
  });
});
