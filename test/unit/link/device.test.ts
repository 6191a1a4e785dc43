import { describe, expect, it } from '@jest/globals';
import { hasTentativeAddress } from '../../../src/link/device.js';

const inet6 = `00000000000000000000000000000001 01 80 10 80       lo
fd000008000000000000000000000002 04 40 00 c0 ovpn-office
fe8000000000000000000000000000aa 05 40 20 80     eth0
`;

describe('tentative addresses', () => {
  it.each([['ovpn-office', true], ['eth0', false], ['lo', false], ['ovpn', false], ['absent', false]])('%s: %s', (device, tentative) => {
    expect(hasTentativeAddress(device, inet6)).toBe(tentative);
  });

  it('none without IPv6', () => {
    expect(hasTentativeAddress('eth0', '')).toBe(false);
  });
});
