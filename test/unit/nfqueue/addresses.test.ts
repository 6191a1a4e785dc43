import { isIPv6 } from 'node:net';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { ipv6Text } from '../../../src/nfqueue/native/lib/addresses.js';

function text(groups: readonly number[]): string {
  const view = new DataView(new ArrayBuffer(16));
  groups.forEach((group, i) => { view.setUint16(2 * i, group); });
  return ipv6Text(view, 0);
}

describe('ipv6Text', () => {
  it.each([
    [[0, 0, 0, 0, 0, 0, 0, 0], '::'],
    [[0, 0, 0, 0, 0, 0, 0, 1], '::1'],
    [[0xfe80, 0, 0, 0, 0, 0, 0, 0], 'fe80::'],
    [[0x2001, 0xdb8, 0, 0, 1, 0, 0, 1], '2001:db8::1:0:0:1'],
    [[0x2001, 0xdb8, 0, 1, 1, 1, 1, 1], '2001:db8:0:1:1:1:1:1'],
    [[1, 0, 0, 2, 0, 0, 0, 3], '1:0:0:2::3'],
    [[0, 0, 0, 0, 0, 0xffff, 0x0a01, 0x0002], '::ffff:10.1.0.2'],
  ])('writes %j as RFC 5952 does', (groups, expected) => {
    expect(text(groups)).toBe(expected);
  });

  it('agrees with the URL parser of the runtime', () => {
    const group = fc.oneof(fc.constant(0), fc.nat(0xffff));
    fc.assert(
      fc.property(fc.array(group, { minLength: 8, maxLength: 8 }), (groups) => {
        const written = text(groups);
        expect(isIPv6(written)).toBe(true);
        if (!written.includes('.')) expect(written).toBe(new URL(`http://[${groups.map((g) => g.toString(16)).join(':')}]/`).hostname.slice(1, -1));
      }),
    );
  });
});
