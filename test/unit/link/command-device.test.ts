import { describe, expect, it } from '@jest/globals';
import { addressesThatCame, parseAddresses } from '../../../src/link/device.js';

describe('the addresses of a link', () => {
  it('are those that were not there before, the first of each family', () => {
    expect(addressesThatCame(['192.168.1.2', 'fd00::2'], ['192.168.1.2', 'fd00::2'])).toEqual({});
    expect(addressesThatCame([], ['10.8.0.2', '10.8.0.3', 'fd00:8::2'])).toEqual({ ipv4: '10.8.0.2', ipv6: 'fd00:8::2' });
    expect(addressesThatCame(['192.168.1.2'], ['192.168.1.2', '192.168.1.9'])).toEqual({ ipv4: '192.168.1.9' });
  });

  it('are read from `ip -json addr show`, without link-local ones', () => {
    const json = '[{"ifindex":9,"ifname":"wg0","addr_info":[{"family":"inet","local":"10.8.0.2","prefixlen":24,"scope":"global"},{"family":"inet6","local":"fe80::1","prefixlen":64,"scope":"link"},{"family":"inet6","local":"fd00:8::2","prefixlen":64,"scope":"global"}]}]';
    expect(parseAddresses(json)).toEqual(['10.8.0.2', 'fd00:8::2']);
    expect(parseAddresses('[{}]')).toEqual([]);
  });
});
