import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { parsePrefix } from '../../../src/config/prefix.js';

describe('prefixes', () => {
  it.each([
    ['10.99.0.0/16', '10.99.0.0/16'],
    ['1.2.3.4', '1.2.3.4/32'],
    ['0.0.0.0/0', '0.0.0.0/0'],
    ['::/0', '::/0'],
    ['::', '::/128'],
    ['fd00:99::/48', 'fd00:99::/48'],
    ['FD00:0099:0:0:0:0:0:1', 'fd00:99::1/128'],
    ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1/128'],
    ['1:0:2:0:3:0:4:0', '1:0:2:0:3:0:4:0/128'],
    ['::ffff:192.0.2.1', '::ffff:c000:201/128'],
  ])('%s is %s', (text, prefix) => {
    expect(parsePrefix(text)).toEqual({ prefix });
  });

  it.each([
    ['10.99.0.1/16', 'did you mean 10.99.0.0/16?'],
    ['fd00:99::1/48', 'did you mean fd00:99::/48?'],
    ['10.0.0.0/33', 'at most 32 bits'],
    ['10.0.0.0/', 'not a number'],
    ['10.0.0.0/8/8', 'is not an IPv4 or IPv6 prefix'],
    ['office.example', 'is not an IPv4 or IPv6 prefix'],
    ['fe80::1%eth0', 'is not an IPv4 or IPv6 prefix'],
    ['', 'is not an IPv4 or IPv6 prefix'],
  ])('%s: %s', (text, problem) => {
    expect(parsePrefix(text)).toEqual({ problem: expect.stringContaining(problem) });
  });

  it('reads its own canonical text as the same prefix', () => {
    fc.assert(fc.property(fc.oneof(fc.ipV4(), fc.ipV6()), (address) => {
      const first = parsePrefix(address);
      expect('prefix' in first && parsePrefix(first.prefix)).toEqual(first);
    }));
  });
});
