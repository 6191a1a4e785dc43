import { describe, expect, it } from '@jest/globals';
import { fits, hexOf, inodeOf, tablesOf, type SocketQuery } from '../../../src/host/socket-table.js';

// Lines of a little-endian machine: 10.77.1.1:40000 → 10.99.0.1:8080 in SYN_SENT, and the same of a socket of both families.
const syn = '   1: 01014D0A:9C40 0100630A:1F90 02 00000001:00000000 01:00000064 00000000  1000        0 853795 2 0000000000000000';
const both = '   7: 0000000000000000FFFF000001014D0A:9C40 0000000000000000FFFF00000100630A:1F90 02 00000001:00000000 01:00000064 00000000  1000        0 853796 2 0000000000000000';
const unbound = ' 1234: 00000000:9C40 00000000:0000 07 00000000:00000000 00:00000000 00000000  1000        0 853797 2 0000000000000000 0';

const packet: SocketQuery = { protocol: 'tcp', source: '10.77.1.1', sourcePort: 40_000, destination: '10.99.0.1', destinationPort: 8080, uid: 1000 };

describe('a line of /proc/net/tcp', () => {
  it('fits the packet of its socket', () => {
    expect(fits(syn, packet, 'tcp')).toBeGreaterThan(0);
    expect(fits(both, packet, 'tcp6')).toBeGreaterThan(0);
    expect(inodeOf(syn)).toBe('853795');
  });

  it.each<[string, Partial<SocketQuery>]>([
    ['another port', { sourcePort: 40_001 }], ['another destination', { destination: '10.99.0.2' }], ['another port there', { destinationPort: 80 }],
    ['another source', { source: '10.77.1.2' }], ['another user', { uid: 0 }],
  ])('does not fit %s', (_, other) => {
    expect(fits(syn, { ...packet, ...other }, 'tcp')).toBe(0);
  });

  it('fits less if the socket is not connected, and not at all without an inode', () => {
    expect(fits(unbound, { ...packet, protocol: 'udp' }, 'udp')).toBeGreaterThan(0);
    expect(fits(unbound, packet, 'udp')).toBeLessThan(fits(syn, packet, 'tcp'));
    expect(fits(syn.replace('853795', '0'), packet, 'tcp')).toBe(0);
    expect(fits('  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode', packet, 'tcp')).toBe(0);
  });

  it('of raw sockets has the protocol for a port', () => {
    const ping = '    1: 00000000:0001 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 9000 2 0000000000000000 0';
    const icmp = { protocol: 'icmp', source: '10.77.1.1', destination: '10.99.0.1', uid: 0 };
    expect(fits(ping, icmp, 'raw')).toBeGreaterThan(0);
    expect(fits(ping.replace(':0001', ':0059'), icmp, 'raw')).toBe(0); // OSPF
  });
});

describe('addresses', () => {
  it.each([['10.99.0.1', '0100630A', '0A630001'], ['fd00:99::1', '990000FD000000000000000001000000', 'FD000099000000000000000000000001'], ['::1', '00000000000000000000000001000000', '00000000000000000000000000000001']])('%s', (text, little, big) => {
    expect(hexOf(text, true)).toBe(little);
    expect(hexOf(text, false)).toBe(big);
  });

  it('an IPv4 packet may come from a socket of both families', () => {
    expect(tablesOf(packet)).toEqual(['tcp', 'tcp6']);
    expect(tablesOf({ ...packet, protocol: 'udp', source: 'fd00::1' })).toEqual(['udp6']);
    expect(tablesOf({ ...packet, protocol: 'gre' })).toEqual([]);
  });
});
