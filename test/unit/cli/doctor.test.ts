import { describe, expect, it } from '@jest/globals';
import { checkDaemon } from '../../../src/cli/commands/doctor/daemon.js';
import type { Finding } from '../../../src/cli/commands/doctor/finding.js';
import { choiceText } from '../../../src/cli/commands/doctor/kernel.js';
import { checkNames } from '../../../src/cli/commands/doctor/names.js';
import { checkNetwork } from '../../../src/cli/commands/doctor/network.js';
import { checkPrivileges } from '../../../src/cli/commands/doctor/privileges.js';
import { checkPrograms } from '../../../src/cli/commands/doctor/programs.js';
import { checkQueues } from '../../../src/cli/commands/doctor/queues.js';
import { findingsText } from '../../../src/cli/render.js';
import { parseConfiguration } from '../../../src/config/load.js';
import { fakeMachine, type FakeMachine } from './fake-machine.js';

const settings = parseConfiguration('tunnels: {office: {openvpn: {config: a.ovpn}, protect: [10.99.0.0/16, "fd00:99::/48"]}}', '/etc/x.yaml');
type Programs = NonNullable<FakeMachine['programs']>;
const codes = (findings: readonly Finding[]): string[] => findings.map(({ code }) => code);
const found = (findings: readonly Finding[], code: string): Finding | undefined => findings.find((finding) => finding.code === code);

describe('programs', () => {
  const debian12 = {
    'ip -V': 'ip utility, iproute2-6.1.0, libbpf 1.1.2',
    'iptables -V': 'iptables v1.8.9 (nf_tables)',
    'ip6tables -V': 'ip6tables v1.8.9 (legacy)',
    'ipset -v': 'ipset v7.17, protocol version: 7',
    'nft -v': 'nftables v1.0.6 (Lester Gooch #5)',
    'conntrack -V': 'conntrack v1.4.7 (conntrack-tools)',
    'openvpn --version': 'OpenVPN 2.6.14 x86_64-pc-linux-gnu [SSL (OpenSSL)]\nlibrary versions: …',
  };
  const check = (programs: Programs, gate?: 'iptables' | 'nft'): Promise<Finding[]> => checkPrograms(fakeMachine({ programs }), ['openvpn'], gate);

  it('are told with their versions', async () => {
    const findings = await check(debian12);
    expect(findings.map(({ severity, message }) => `${severity} ${message}`)).toEqual(['ok ip 6.1.0', 'ok iptables 1.8.9 (nf_tables)', 'ok ip6tables 1.8.9 (legacy)', 'ok ipset 7.17', 'ok nft 1.0.6', 'ok conntrack 1.4.7', 'ok openvpn 2.6.14']);
  });

  it('are missed, except nft and what only `established` wants', async () => {
    const findings = await check({});
    expect(findings.filter(({ severity }) => severity === 'error').map(({ code }) => code)).toEqual(['IP_MISSING', 'IPTABLES_MISSING', 'IP6TABLES_MISSING', 'IPSET_MISSING', 'OPENVPN_MISSING']);
    expect(found(findings, 'OPENVPN_MISSING')?.fix).toBe('install it; in Debian: apt install openvpn');
    expect(found(findings, 'NFT_MISSING')?.severity).toBe('ok');
    expect(found(findings, 'CONNTRACK_MISSING')).toMatchObject({ severity: 'warning', fix: 'install it; in Debian: apt install conntrack' });
  });

  it('are missed if the backend of the gate needs them', async () => {
    const { 'nft -v': nft, 'ip -V': ip, 'openvpn --version': openvpn } = debian12;
    const few = { 'nft -v': nft, 'ip -V': ip, 'openvpn --version': openvpn };
    const missed = async (programs: Programs, gate?: 'iptables' | 'nft'): Promise<string[]> => codes((await check(programs, gate)).filter(({ severity }) => severity === 'error'));
    expect(await missed(few)).toEqual([]);
    expect(await missed(few, 'nft')).toEqual([]);
    expect(await missed(few, 'iptables')).toEqual(['IPTABLES_MISSING', 'IP6TABLES_MISSING', 'IPSET_MISSING']);
    expect(await missed({ 'ip -V': ip, 'openvpn --version': openvpn }, 'nft')).toEqual(['NFT_MISSING']);
  });

  it('are too old, or something else', async () => {
    const findings = await check({ ...debian12, 'openvpn --version': { succeeded: false, stdout: 'OpenVPN 2.3.10 x86_64', stderr: '' }, 'ipset -v': { succeeded: false, stdout: '', stderr: 'Kernel support missing\nmore' } });
    expect(found(findings, 'OPENVPN_OLD')).toMatchObject({ severity: 'error', message: 'openvpn 2.3.10 is older than 2.4' });
    expect(found(findings, 'IPSET_UNKNOWN')).toMatchObject({ severity: 'warning', message: 'ipset does not tell its version: Kernel support missing' });
  });
});

describe('the backend of the gate', () => {
  it.each([
    ['auto', [{ backend: 'iptables' }, { backend: 'nft' }, { backend: 'condition', whyNot: 'no match' }], 'iptables, which `gate: auto` prefers where it works'],
    ['auto', [{ backend: 'iptables', whyNot: 'ipset was not found' }, { backend: 'nft' }, { backend: 'condition' }], 'nft, since iptables does not work here (`gate: auto`)'],
    ['nft', [{ backend: 'iptables' }, { backend: 'nft' }, { backend: 'condition' }], 'nft, as `gate: nft` says'],
  ] as const)('is told with the reason: %s, %j', (wanted, probes, text) => {
    expect(choiceText(wanted, probes)).toBe(text);
  });
});

describe('capabilities', () => {
  const check = (mask: string, gate?: 'nft'): Promise<Finding[]> => checkPrivileges(fakeMachine({ files: { '/proc/self/status': `Name:\tnode\nCapEff:\t${mask}\nCapBnd:\t0\n` } }), gate);

  it.each([
    ['000001ffffffffff', 'CAPABILITIES', ''],
    ['0000000000003000', 'CAPABILITIES', ''],
    ['0000000000001000', 'CAP_NET_RAW_MISSING', 'CAP_NET_RAW'],
    ['0000000000002000', 'CAPABILITIES_MISSING', 'CAP_NET_ADMIN'],
  ])('%s', async (mask, code, names) => {
    const [finding] = await check(mask);
    expect(finding?.code).toBe(code);
    expect(finding?.message).toContain(names);
  });

  it('CAP_NET_RAW is not needed by the nft backend', async () => {
    expect(codes(await check('0000000000001000', 'nft'))).toEqual(['CAPABILITIES']);
  });
});

describe('network', () => {
  const sysctls = { 'ipv4/conf/all/rp_filter': '0', 'ipv4/conf/default/rp_filter': '2', 'ipv4/ip_forward': '1', 'ipv6/conf/all/forwarding': '1', 'ipv6/conf/all/disable_ipv6': '0', 'ipv6/conf/default/disable_ipv6': '0', 'ipv6/conf/lo/disable_ipv6': '0' };
  const check = (changes: Readonly<Record<string, string>> = {}, programs: Programs = {}): Promise<Finding[]> => {
    const files = Object.fromEntries(Object.entries({ ...sysctls, ...changes }).map(([name, value]) => [`/proc/sys/net/${name}`, `${value}\n`]));
    return checkNetwork(fakeMachine({ files, programs }), settings);
  };

  it('a router as it should be', async () => {
    expect(codes(await check({}, { 'nft list flowtables': '' }))).toEqual(['RP_FILTER', 'FORWARDING', 'IPV6', 'FLOWTABLES']);
  });

  it.each([
    // Documentation/networking/ip-sysctl.rst, rp_filter: the larger value counts, and 2 is loose.
    [{ 'ipv4/conf/all/rp_filter': '1', 'ipv4/conf/default/rp_filter': '0' }, 'RP_FILTER_STRICT', 'warning'],
    [{ 'ipv4/conf/all/rp_filter': '0', 'ipv4/conf/default/rp_filter': '1' }, 'RP_FILTER_STRICT', 'warning'],
    [{ 'ipv4/conf/all/rp_filter': '1', 'ipv4/conf/default/rp_filter': '2' }, 'RP_FILTER', 'ok'],
    [{ 'ipv4/ip_forward': '0' }, 'FORWARDING_OFF', 'ok'],
    [{ 'ipv6/conf/all/forwarding': '0' }, 'FORWARDING_IPV4_ONLY', 'warning'],
    [{ 'ipv6/conf/lo/disable_ipv6': '1' }, 'IPV6_OFF', 'error'],
  ])('%j', async (changes, code, severity) => {
    expect(found(await check(changes), code)?.severity).toBe(severity);
  });

  describe('flowtables', () => {
    const listing = (flags = ''): string => `table inet fw4 {\n\tflowtable ft {\n\t\thook ingress priority filter\n\t\tdevices = { eth0, br-lan }\n${flags}\t}\n}\n`;
    const look = async (offload: 'refuse' | 'end', programs: Programs): Promise<Finding | undefined> => (await checkNetwork(fakeMachine({ programs }), { ...settings, offload })).at(-1);

    it('are refused', async () => {
      expect(await look('refuse', { 'nft list flowtables': listing() })).toMatchObject({ code: 'FLOWTABLES', severity: 'error', message: expect.stringContaining('ft (table inet fw4)') });
    });

    it('are no fault where what they forward ends, by conntrack', async () => {
      expect(await look('end', { 'nft list flowtables': listing(), 'conntrack --version': 'conntrack v1.4.7' })).toMatchObject({ code: 'FLOWTABLES', severity: 'ok' });
      expect(await look('end', { 'nft list flowtables': listing() })).toMatchObject({ code: 'CONNTRACK_MISSING', severity: 'error' });
    });

    it('of iptables, as OpenWrt has it, are found', async () => {
      const rules = '*filter\n-A FORWARD -j zone_lan\n-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j FLOWOFFLOAD\nCOMMIT\n';
      expect(await look('refuse', { 'iptables-save -t filter': rules })).toMatchObject({ code: 'FLOWTABLES', severity: 'error', message: expect.stringContaining('FORWARD (table iptables filter)') });
      expect(await look('end', { 'ip6tables-save -t filter': rules.replace('OFFLOAD\n', 'OFFLOAD --hw\n'), 'conntrack --version': '' })).toMatchObject({ code: 'FLOWTABLES_HARDWARE' });
      expect(await look('refuse', { 'iptables-save -t filter': '*filter\n-A FORWARD -j ACCEPT\nCOMMIT\n' })).toMatchObject({ code: 'FLOWTABLES', severity: 'ok' });
    });

    it('must not let hardware forward', async () => {
      expect(await look('end', { 'nft list flowtables': listing('\t\tflags offload\n'), 'conntrack --version': '' })).toMatchObject({ code: 'FLOWTABLES_HARDWARE', severity: 'error' });
    });
  });
});

describe('names', () => {
  const named = parseConfiguration('tunnels: {a: {openvpn: {config: a}, protect: [wiki, 10.0.0.0/8]}, b: {openvpn: {config: b}, protect: [wiki]}}', '/etc/x.yaml');

  it('are told with what they stand for, each once', async () => {
    const findings = await checkNames(fakeMachine({ programs: { 'getent ahosts wiki': '192.0.2.7     STREAM wiki\n192.0.2.7     DGRAM\n2001:db8::7   STREAM\n' } }), named);
    expect(findings).toEqual([{ code: 'NAMES', severity: 'ok', message: 'wiki is 192.0.2.7, 2001:db8::7' }]);
  });

  it('that have no address are not protected', async () => {
    const findings = await checkNames(fakeMachine({ programs: { 'getent ahosts wiki': { succeeded: false, stdout: '', stderr: '' } } }), named);
    expect(findings).toMatchObject([{ code: 'NAME_UNRESOLVED', severity: 'warning' }]);
  });

  it('are not looked at without getent', async () => {
    expect(await checkNames(fakeMachine({}), named)).toEqual([]);
  });
});

describe('queues', () => {
  const files = { '/proc/self/uid_map': '         0          0 4294967295\n' };
  const check = (machine: FakeMachine, running = false): Promise<Finding[]> => checkQueues(fakeMachine({ ...machine, files: { ...files, ...machine.files } }), settings, running);

  it('are free', async () => {
    expect(codes(await check({}))).toEqual(['QUEUES', 'QUEUE_BUFFER']);
  });

  it('belong to somebody else, unless the daemon runs', async () => {
    const machine = { files: { '/proc/net/netfilter/nfnetlink_queue': ' 7500   4711     0 2   128     0     0        0  1\n' } };
    expect(found(await check(machine), 'QUEUE_IN_USE')?.message).toContain('NFQUEUE 7500 of tunnel office');
    expect(codes(await check(machine, true))).toEqual(['QUEUES', 'QUEUE_BUFFER']);
  });

  it.each([
    ['iptables-save', '*raw\n-A PREROUTING -p udp -j NFQUEUE --queue-num 7500 --queue-bypass\nCOMMIT'],
    ['ip6tables-legacy-save', '*mangle\n-A FORWARD -j NFQUEUE --queue-balance 7000:7600 --queue-cpu-fanout\nCOMMIT'],
    ['nft -n list ruleset', 'table inet ids {\n\tchain forward {\n\t\ttype filter hook forward priority 0; policy accept;\n\t\tip protocol 6 queue flags bypass,fanout to 7500-7503\n\t}\n}'],
    ['nft -n list ruleset', 'table inet ids {\n\tchain forward {\n\t\tcounter packets 0 bytes 0 queue num 7500\n\t}\n}'],
  ])('get packets from a rule of others: %s', async (program, text) => {
    expect(found(await check({ programs: { [program]: text } }), 'QUEUE_RULE_CONFLICT')?.severity).toBe('error');
  });

  it.each([
    ['iptables-save', '-A PREROUTING -j NFQUEUE --queue-num 5'],
    ['iptables-save', '-A OOD-raw-in -m set --match-set ood-office-hold dst -j NFQUEUE --queue-num 7500'],
    ['nft -n list ruleset', 'table ip raw {\n\tchain OOD-raw-in {\n\t\tcounter queue to 7500\n\t}\n}'],
    ['nft -n list ruleset', 'table inet ids {\n\tchain forward {\n\t\tcomment "queue to 7500"\n\t}\n}'],
  ])('and not from these: %s %s', async (program, text) => {
    expect(codes(await check({ programs: { [program]: text } }))).toEqual(['QUEUES', 'QUEUE_BUFFER']);
  });

  it('in a user namespace have the buffer that rmem_max leaves', async () => {
    expect(codes(await check({ files: { '/proc/self/uid_map': '0 1000 1\n', '/proc/sys/net/core/rmem_max': '212992\n' } }))).toContain('QUEUE_BUFFER_SMALL');
    expect(codes(await check({ files: { '/proc/self/uid_map': '0 1000 1\n', '/proc/sys/net/core/rmem_max': '8388608\n' } }))).toContain('QUEUE_BUFFER');
  });
});

describe('what is there already', () => {
  it('a device and sets, unless the daemon runs', async () => {
    const machine = fakeMachine({ folders: { '/sys/class/net': ['lo', 'ovpn-office'] }, programs: { 'ipset list -name': 'other\nood-any4\n' } });
    expect(codes(await checkDaemon(machine, settings, false))).toEqual(['DAEMON_NOT_RUNNING', 'DEVICE_EXISTS', 'LEFTOVERS']);
    expect(codes(await checkDaemon(machine, settings, true))).toEqual(['DAEMON']);
    const left = async (programs: Programs): Promise<boolean> => codes(await checkDaemon(fakeMachine({ programs }), settings, false)).includes('LEFTOVERS');
    const nft = 'nft --terse list table inet openvpn_ondemand';
    expect(await left({ [nft]: 'table inet openvpn_ondemand {\n\tset ood-office-dns4 {\n\t}\n\tchain OOD-guard-4 {\n\t}\n}' })).toBe(true);
    // what dnsmasq fills stays after a stop, and guards nothing
    expect(await left({ 'ipset list -name': 'ood-office-dns4\nood-office-dns6\n', [nft]: 'table inet openvpn_ondemand {\n\tset ood-office-dns4 {\n\t}\n}' })).toBe(false);
  });
});

it('text for people: severity, code, message, the fix below, and the sum', () => {
  const findings: Finding[] = [{ code: 'IP', severity: 'ok', message: 'ip 6.1.0' }, { code: 'TUN_MISSING', severity: 'error', message: 'no tun', fix: 'modprobe tun' }];
  expect(findingsText(findings)).toBe('ok       IP           ip 6.1.0\nerror    TUN_MISSING  no tun\n                      fix: modprobe tun\n1 error, 0 warnings, 1 ok');
});
