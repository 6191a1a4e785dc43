import { describe, expect, it } from '@jest/globals';
import { readClientConfig, writeClientConfig } from '../../../src/link/client-config.js';

const named = `client
dev tun
proto udp
remote vpn.example.net 1194  # the office
remote 192.0.2.7
; remote old.example.net
"remote" 'quoted.example.net' 443 tcp-client
<connection>
remote inner.example.net 1195 udp
</connection>
management /run/x unix
<ca>
remote not.an.option
</ca>
verb 3`;

const addresses: Record<string, readonly string[]> = {
  'vpn.example.net': ['192.0.2.1', '2001:db8::1'],
  'quoted.example.net': ['2001:db8::2'],
  'inner.example.net': ['192.0.2.3', '192.0.2.4'],
};
const addressesOf = (host: string): readonly string[] => addresses[host] ?? [];

describe('reading a client configuration', () => {
  it('finds the servers, also quoted and in <connection>, and none in remarks or inline files', () => {
    expect(readClientConfig(named).remotes).toEqual([
      { host: 'vpn.example.net', port: '1194' },
      { host: '192.0.2.7' },
      { host: 'quoted.example.net', port: '443', proto: 'tcp-client' },
      { host: 'inner.example.net', port: '1195', proto: 'udp' },
    ]);
  });

  it('names the options that the daemon gives itself', () => {
    expect(readClientConfig(named).conflicts).toEqual(['management']);
    // It would have OpenVPN read its standard input again at each reconnect.
    expect(readClientConfig('remote a\nremap-usr1 SIGHUP\n').conflicts).toEqual(['remap-usr1']);
    expect(writeClientConfig('remote 192.0.2.1\nremap-usr1 SIGHUP\nverb 3', () => [])).toBe('remote 192.0.2.1\nverb 3');
  });

  it.each([
    ['remote a 1 udp', true],
    ['remote a', true],
    ['proto tcp-client\nremote a', false],
    ['proto udp\nremote a 1 tcp\nremote b', false],
  ])('%j is UDP throughout: %s', (text, udp) => {
    expect(readClientConfig(text).udp).toBe(udp);
  });

  it.each([['dev tun', 'tun'], ['dev tap0', 'tap'], ['dev office\ndev-type tap', 'tap'], ['dev tap0\ndev-type tun', 'tun'], ['', 'tun']])('%j is a %s device', (text, type) => {
    expect(readClientConfig(text).deviceType).toBe(type);
  });
});

describe('what OpenVPN gets', () => {
  it('has every server by address, and nothing of ours', () => {
    expect(writeClientConfig(named, addressesOf)).toBe(`client
dev tun
proto udp
remote 192.0.2.1 1194
remote 2001:db8::1 1194
remote 192.0.2.7
; remote old.example.net
remote 2001:db8::2 443 tcp6-client
<connection>
remote 192.0.2.3 1195 udp4
</connection>
<ca>
remote not.an.option
</ca>
verb 3`);
  });

  it('leaves a server out that has no address', () => {
    expect(writeClientConfig('remote gone.example.net', addressesOf)).toBe('');
  });
});
