import { describe, expect, it } from '@jest/globals';
import { openvpnArguments, routeLines, type OpenvpnOptions } from '../../../src/link/arguments.js';
import { readClientConfig } from '../../../src/link/client-config.js';

const options: OpenvpnOptions = {
  name: 'office', config: '/x.ovpn', program: 'openvpn', args: ['--verb', '4'], device: 'ovpn-office', routes: () => [], moved: () => Promise.resolve(), mark: 0x400000, standby: 'cold', folder: '/run/x', dialTimeoutMs: 30_000, holdPackets: 1024,
};
const place = { socket: '/run/x/s', servers: 1 };
const optionOf = (args: readonly string[], name: string): string | undefined => args[args.indexOf(name) + 1];

describe('what OpenVPN is started with', () => {
  it('tells a server on UDP that it ends, unless the configuration does', () => {
    expect(openvpnArguments(options, readClientConfig('remote a 1 udp'), place)).toContain('--explicit-exit-notify');
    expect(openvpnArguments(options, readClientConfig('remote a 1 tcp'), place)).not.toContain('--explicit-exit-notify');
    expect(openvpnArguments(options, readClientConfig('remote a 1 udp\nexplicit-exit-notify 3'), place)).not.toContain('--explicit-exit-notify');
  });

  it('waits for no server longer than a packet may be held', () => {
    const args = openvpnArguments(options, readClientConfig('remote a'), { ...place, servers: 4 });
    expect(optionOf(args, '--server-poll-timeout')).toBe('7');
    expect(optionOf(args, '--hand-window')).toBe('30');
  });

  it('makes room in the device for all that may be held, unless the configuration says how much', () => {
    expect(optionOf(openvpnArguments({ ...options, holdPackets: 4096 }, readClientConfig('remote a'), place), '--txqueuelen')).toBe('8192');
    expect(openvpnArguments(options, readClientConfig('remote a\ntxqueuelen 50'), place)).not.toContain('--txqueuelen');
  });

  it('gives --inactive in whole seconds, only where OpenVPN watches', () => {
    const client = readClientConfig('remote a');
    expect(openvpnArguments(options, client, place)).not.toContain('--inactive');
    expect(optionOf(openvpnArguments({ ...options, inactiveMs: 90_400 }, client, place), '--inactive')).toBe('90');
  });

  it('tells the server of web authentication where somebody can be shown an address', () => {
    const client = readClientConfig('remote a');
    expect(openvpnArguments(options, client, place)).not.toContain('IV_SSO');
    expect(optionOf(openvpnArguments({ ...options, signOn: ['webauth', 'crtext'] }, client, place), 'IV_SSO')).toBe('webauth,crtext');
  });

  it('lets the user have the last word', () => {
    expect(openvpnArguments(options, readClientConfig('remote a'), place).slice(-2)).toEqual(['--verb', '4']);
  });
});

describe('routes of the protected prefixes', () => {
  it('are lines of a configuration; a default route is left to the server', () => {
    expect(routeLines(['10.99.0.0/16', '10.1.2.3/32', '128.0.0.0/1', '0.0.0.0/0', 'fd00:99::/48', '::/0'])).toEqual([
      'route 10.99.0.0 255.255.0.0 default 3000',
      'route 10.1.2.3 255.255.255.255 default 3000',
      'route 128.0.0.0 128.0.0.0 default 3000',
      'route-ipv6 fd00:99::/48',
    ]);
  });
});
