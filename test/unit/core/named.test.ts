import { describe, expect, it } from '@jest/globals';
import { isOrdinary, withNamed } from '../../../src/core/named.js';
import type { GateTunnel } from '../../../src/core/ports.js';
import { parseNet } from '../../../src/core/prefix.js';

const tunnel = (name: string, ...protect: readonly string[]): GateTunnel => ({ name, device: `ovpn-${name}`, queue: 1, protect, exclude: [], remotes: [], onFailure: 'reject' });

describe('what names stand for', () => {
  it('is protected beside the prefixes', () => {
    expect(withNamed([{ tunnel: tunnel('a', '10.0.0.0/8'), named: ['192.0.2.7/32', 'fd00::7/128'] }])).toEqual({ tunnels: [{ ...tunnel('a', '10.0.0.0/8', '192.0.2.7/32', 'fd00::7/128'), named: ['192.0.2.7/32', 'fd00::7/128'] }], clashes: [] });
  });

  it('leaves a tunnel without any as it is', () => {
    const plain = tunnel('a', '10.0.0.0/8');
    expect(withNamed([{ tunnel: plain, named: [] }]).tunnels[0]).toBe(plain);
  });

  it('stays whose prefix it is, also of the same tunnel', () => {
    const { tunnels, clashes } = withNamed([{ tunnel: tunnel('a'), named: ['192.0.2.7/32', '192.0.2.8/32'] }, { tunnel: tunnel('b', '192.0.2.7/32'), named: ['192.0.2.7/32'] }]);
    expect(tunnels.map(({ protect }) => protect)).toEqual([['192.0.2.8/32'], ['192.0.2.7/32']]);
    expect(clashes).toEqual([{ prefix: '192.0.2.7/32', tunnel: 'a', owner: 'b' }]);
  });

  it('is the first tunnel\'s of two whose names stand for it', () => {
    const { tunnels, clashes } = withNamed([{ tunnel: tunnel('a'), named: ['192.0.2.7/32'] }, { tunnel: tunnel('b'), named: ['192.0.2.7/32', '192.0.2.8/32'] }]);
    expect(tunnels.map(({ protect }) => protect)).toEqual([['192.0.2.7/32'], ['192.0.2.8/32']]);
    expect(clashes).toEqual([{ prefix: '192.0.2.7/32', tunnel: 'b', owner: 'a' }]);
  });

  it.each([['192.0.2.7', true], ['fd00::7', true], ['0.0.0.0', false], ['127.0.0.1', false], ['169.254.1.1', false], ['224.0.0.1', false], ['255.255.255.255', false], ['::', false], ['::1', false], ['fe80::1', false], ['ff02::1', false]])('%s can be another host: %s', (address, expected) => {
    expect(isOrdinary(parseNet(address))).toBe(expected);
  });
});
