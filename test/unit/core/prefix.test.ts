import { isIP } from 'node:net';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { byNesting, contains, formatNet, halves, parseNet, readPrefix, subtract, walkNested, type Net } from '../../../src/core/prefix.js';

const net4 = fc.record({ bits: fc.bigInt(0n, 0xffffffffn), length: fc.integer({ min: 0, max: 32 }) }).map(({ bits, length }): Net => ({ family: 4, length, bits: (bits >> BigInt(32 - length)) << BigInt(32 - length) }));
const net6 = fc.record({ bits: fc.bigInt(0n, (1n << 128n) - 1n), length: fc.integer({ min: 0, max: 128 }) }).map(({ bits, length }): Net => ({ family: 6, length, bits: (bits >> BigInt(128 - length)) << BigInt(128 - length) }));

describe('prefix', () => {
  it.each([
    ['10.99.3.4/16', '10.99.0.0/16'],
    ['10.99.3.4', '10.99.3.4/32'],
    ['0.0.0.0/0', '0.0.0.0/0'],
    ['fd00:99::1/48', 'fd00:99::/48'],
    ['::/0', '::/0'],
    ['::1', '::1/128'],
    ['2001:DB8:0:0:1:0:0:1', '2001:db8::1:0:0:1/128'],
    ['1:0:2:0:3:0:4:0', '1:0:2:0:3:0:4:0/128'],
    ['::ffff:10.1.2.3', '::ffff:a01:203/128'],
    ['64:ff9b::10.0.0.0/104', '64:ff9b::a00:0/104'],
  ])('reads %s as %s', (text, canonical) => {
    expect(formatNet(parseNet(text))).toBe(canonical);
  });

  it.each(['10.0.0.0/33', '10.0.0/8', 'fd00::/129', 'office', '', '10.0.0.0/', '10.0.0.0/-1', '10.0.0.0/8x', '10.0.0.0/8/8', 'fe80::1%eth0', '01.2.3.4', '1:2:3:4:5:6:7::8'])('refuses %p', (text) => {
    expect(() => parseNet(text)).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }));
  });

  it('takes for an address what the C library does', () => {
    const part = fc.constantFrom('', '0', '1', '255', '256', '00', 'ffff', 'FFFFF', 'g', '1.2.3.4', ':');
    const near = fc.tuple(fc.array(part, { maxLength: 9 }), fc.constantFrom(':', '.')).map(([parts, separator]) => parts.join(separator));
    fc.assert(fc.property(fc.oneof(near, fc.ipV4(), fc.ipV6()), (text) => {
      const read = readPrefix(text);
      expect({ text, family: 'problem' in read ? 0 : read.family }).toEqual({ text, family: isIP(text) });
    }), { numRuns: 2000 });
  });

  it('prints what it can read again', () => {
    fc.assert(fc.property(fc.oneof(net4, net6), (net) => { expect(parseNet(formatNet(net))).toEqual(net); }));
  });

  it('contains by the leading bits, and only within a family', () => {
    expect(contains(parseNet('10.0.0.0/8'), parseNet('10.255.0.0/16'))).toBe(true);
    expect(contains(parseNet('10.0.0.0/8'), parseNet('10.0.0.0/8'))).toBe(true);
    expect(contains(parseNet('10.0.0.0/8'), parseNet('11.0.0.0/16'))).toBe(false);
    expect(contains(parseNet('10.0.0.0/16'), parseNet('10.0.0.0/8'))).toBe(false);
    expect(contains(parseNet('::/0'), parseNet('10.0.0.0/8'))).toBe(false);
  });

  it('halves a network, but not one address', () => {
    expect(halves(parseNet('0.0.0.0/0')).map(formatNet)).toEqual(['0.0.0.0/1', '128.0.0.0/1']);
    expect(halves(parseNet('fe80::/10')).map(formatNet)).toEqual(['fe80::/11', 'fea0::/11']);
    expect(halves(parseNet('10.0.0.1/32')).map(formatNet)).toEqual(['10.0.0.1/32']);
  });

  it('subtracts with the fewest networks', () => {
    expect(subtract(parseNet('10.0.0.0/8'), [parseNet('10.128.0.0/9')]).map(formatNet)).toEqual(['10.0.0.0/9']);
    expect(subtract(parseNet('10.0.0.0/30'), [parseNet('10.0.0.2')]).map(formatNet)).toEqual(['10.0.0.0/31', '10.0.0.3/32']);
    expect(subtract(parseNet('10.0.0.0/8'), [parseNet('10.0.0.0/8')])).toEqual([]);
    expect(subtract(parseNet('10.0.0.0/8'), []).map(formatNet)).toEqual(['10.0.0.0/8']);
  });

  it('subtracts so that every address is in the rest or in a hole', () => {
    fc.assert(
      fc.property(net4, fc.array(net4, { maxLength: 5 }), fc.array(fc.bigInt(0n, 0xffffffffn), { maxLength: 20 }), (net, all, addresses) => {
        const holes = all.filter((hole) => contains(net, hole));
        const rest = subtract(net, holes);
        const edges = [...holes, ...rest].flatMap(({ bits, length }) => [bits, bits + (1n << BigInt(32 - length)) - 1n]);
        for (const bits of [...addresses, ...edges]) {
          const address: Net = { family: 4, bits, length: 32 };
          const wanted = contains(net, address) && !holes.some((hole) => contains(hole, address));
          expect(rest.filter((part) => contains(part, address)).length).toBe(wanted ? 1 : 0);
        }
      }),
    );
  });

  it('walks to every network after the one around it', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.oneof(net4, net6), { selector: formatNet }), (nets) => {
        const visited: Net[] = [];
        walkNested<{ net: Net }, Net>(nets.map((net) => ({ net })), ({ net }, around) => {
          const nearest = visited.filter((other) => contains(other, net)).sort((a, b) => b.length - a.length)[0];
          expect(around).toEqual(nearest);
          visited.push(net);
          return net;
        });
        expect(visited).toEqual([...nets].sort(byNesting));
      }),
    );
  });
});
