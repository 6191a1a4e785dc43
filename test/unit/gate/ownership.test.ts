import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type { GateTunnel } from '../../../src/core/ports.js';
import { catchPrefixes, Ownership, type Entry } from '../../../src/gate/ownership.js';
import { contains, formatNet, parseNet } from '../../../src/core/prefix.js';
import { matchedRanges } from '../../../src/gate/ranges.js';

const tunnel = (name: string, protect: readonly string[], exclude: readonly string[] = []): GateTunnel => ({ name, device: name, queue: 1, protect, exclude, remotes: [], onFailure: 'reject' });
const shown = (entries: readonly Entry[]): readonly string[] => entries.map(({ net, match }) => `${match ? '' : 'not '}${formatNet(net)}`);
const ownership = (tunnels: readonly GateTunnel[], lans: readonly string[] = []): Ownership => new Ownership(tunnels, lans.map(parseNet));

describe('ownership', () => {
  it('exempts what is special inside everything', () => {
    expect(shown(ownership([tunnel('a', ['0.0.0.0/0', '::/0'])], ['192.168.1.0/24']).entries('a'))).toEqual([
      '0.0.0.0/0', 'not 127.0.0.0/8', 'not 169.254.0.0/16', 'not 192.168.1.0/24', 'not 224.0.0.0/4', 'not 255.255.255.255/32', '::/0', 'not ::1/128', 'not fe80::/10', 'not ff00::/8',
    ]);
  });

  it('exempts a LAN only where it is strictly inside, and not what is protected inside the LAN', () => {
    expect(shown(ownership([tunnel('a', ['10.0.0.0/8', '10.1.2.3/32'])], ['10.1.0.0/16']).entries('a'))).toEqual(['10.0.0.0/8', 'not 10.1.0.0/16', '10.1.2.3/32']);
    expect(shown(ownership([tunnel('a', ['10.1.0.0/16'])], ['10.1.0.0/16']).entries('a'))).toEqual(['10.1.0.0/16']);
    expect(shown(ownership([tunnel('a', ['10.1.0.0/16'])], ['10.0.0.0/8']).entries('a'))).toEqual(['10.1.0.0/16']);
  });

  it('gives what one tunnel excludes to the next around it', () => {
    const both = ownership([tunnel('wide', ['10.0.0.0/8']), tunnel('narrow', ['10.99.0.0/16'], ['10.99.7.0/24'])]);
    expect(shown(both.entries('wide'))).toEqual(['10.0.0.0/8', 'not 10.99.0.0/16', '10.99.7.0/24']);
    expect(shown(both.entries('narrow'))).toEqual(['10.99.0.0/16', 'not 10.99.7.0/24']);
    expect(shown(both.entries())).toEqual(['10.0.0.0/8']);
  });

  it('lets a longer protect win over an exclude around it', () => {
    expect(shown(ownership([tunnel('a', ['10.0.0.0/8', '10.5.5.0/24'], ['10.5.0.0/16'])]).entries('a'))).toEqual(['10.0.0.0/8', 'not 10.5.0.0/16', '10.5.5.0/24']);
  });

  it('refuses two owners of one prefix, however written', () => {
    expect(() => ownership([tunnel('a', ['10.0.0.0/8']), tunnel('b', ['10.1.2.3/8'])])).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID', message: '10.0.0.0/8 is protected by both a and b' }));
  });

  it('agrees with the definition, address by address', () => {
    // few bits, so that prefixes nest
    const prefix = fc.record({ bits: fc.integer({ min: 0, max: 15 }), length: fc.integer({ min: 0, max: 4 }) }).map(({ bits, length }) => formatNet(parseNet(`${bits * 16}.0.0.0/${length}`)));
    const some = fc.uniqueArray(prefix, { maxLength: 4 });
    fc.assert(
      fc.property(some, some, some, some, some, (protectA, rawB, excludeA, excludeB, lans) => {
        const protectB = rawB.filter((text) => !protectA.includes(text));
        const all = ownership([tunnel('a', protectA, excludeA), tunnel('b', protectB, excludeB)], lans);
        const [mine, theirs, anybody] = [all.entries('a'), all.entries('b'), all.entries()];
        for (let first = 0; first < 256; first += 16) {
          const address = parseNet(`${first}.1.2.3`);
          const decide = (entries: readonly Entry[]): boolean => entries.filter(({ net }) => contains(net, address)).at(-1)?.match === true;
          const owner = definition(address, { a: protectA, b: protectB }, { a: excludeA, b: excludeB }, [...lans, '224.0.0.0/4', '127.0.0.0/8']);
          expect([decide(mine), decide(theirs), decide(anybody)]).toEqual([owner === 'a', owner === 'b', owner !== undefined]);
        }
      }),
    );
  });
});

/** The most specific statement decides; at one length: exclude, then protect, then exempt. */
function definition(address: ReturnType<typeof parseNet>, protect: Record<string, readonly string[]>, exclude: Record<string, readonly string[]>, exempt: readonly string[]): string | undefined {
  const has = (list: readonly string[] | undefined, length: number): boolean => (list ?? []).map(parseNet).some((net) => net.length === length && contains(net, address));
  const excluded = new Set<string>();
  for (let length = 32; length >= 0; length--) {
    for (const name of ['a', 'b']) if (has(exclude[name], length)) excluded.add(name);
    for (const name of ['a', 'b']) if (has(protect[name], length) && !excluded.has(name)) return name;
    if (has(exempt, length)) return undefined;
  }
  return undefined;
}

describe('catch routes', () => {
  const routes = (tunnels: readonly GateTunnel[], { lans = [] as readonly string[], remotes = [] as readonly string[] } = {}): readonly string[] => catchPrefixes(ownership(tunnels, lans).entries('a'), remotes.map(parseNet)).map(({ net }) => formatNet(net));

  it('make room for what is excluded, for remotes and for the tunnels inside', () => {
    expect(routes([tunnel('a', ['10.0.0.0/8'], ['10.0.0.0/9'])])).toEqual(['10.128.0.0/9']);
    expect(routes([tunnel('a', ['198.51.100.0/30'])], { remotes: ['198.51.100.1'] })).toEqual(['198.51.100.0/32', '198.51.100.2/31']);
    expect(routes([tunnel('a', ['10.0.0.0/8']), tunnel('b', ['10.128.0.0/9'])])).toEqual(['10.0.0.0/9']);
  });

  it('need no room for LANs, whose own routes are longer, nor under a default route', () => {
    expect(routes([tunnel('a', ['10.0.0.0/8'])], { lans: ['10.1.0.0/16'], remotes: ['10.1.2.3', '192.0.2.1'] })).toEqual(['10.0.0.0/8']);
    expect(routes([tunnel('a', ['0.0.0.0/0'], ['10.0.0.0/8'])], { remotes: ['192.0.2.1'] })).toEqual(['0.0.0.0/0']);
  });

  it('are there for what is protected again inside what is not', () => {
    expect(routes([tunnel('a', ['10.0.0.0/8', '10.5.5.0/24'], ['10.0.0.0/9'])])).toEqual(['10.128.0.0/9', '10.5.5.0/24'].sort());
  });

  it('take no time for ten thousand prefixes', () => {
    const many = Array.from({ length: 10_000 }, (_, i) => `${11 + (i >> 16)}.${(i >> 8) & 255}.${i & 255}.0/24`);
    expect(routes([tunnel('a', many)], { remotes: many.slice(0, 1).map((net) => net.replace('0/24', '1')) })).toHaveLength(10_007);
  });
});

describe('ranges', () => {
  it('are what the entries match, and don\'t touch', () => {
    const prefix = fc.record({ bits: fc.integer({ min: 0, max: 31 }), length: fc.integer({ min: 0, max: 5 }) }).map(({ bits, length }) => formatNet(parseNet(`${bits * 8}.0.0.0/${length}`)));
    const some = fc.uniqueArray(prefix, { maxLength: 6 });
    fc.assert(
      fc.property(some, some, some, (protect, exclude, lans) => {
        const entries = ownership([tunnel('a', protect, exclude)], lans).entries('a');
        const ranges = matchedRanges(entries, 4).map((text) => text.split('-').map((address) => Number(parseNet(address).bits)) as [number, number?]);
        for (let first = 0; first < 256; first += 4) {
          const bits = first * 2 ** 24;
          const wanted = entries.filter(({ net }) => contains(net, parseNet(`${first}.0.0.0`))).at(-1)?.match === true;
          expect(ranges.filter(([from, to = from]) => from <= bits && bits <= to)).toHaveLength(wanted ? 1 : 0);
        }
        for (const [index, [from]] of ranges.entries()) if (index > 0) expect(from).toBeGreaterThan((ranges[index - 1]?.at(-1) ?? 0) + 1);
      }),
    );
  });

  it('of everything leave out what is exempt', () => {
    expect(matchedRanges(ownership([tunnel('a', ['0.0.0.0/0', '::/0'])]).entries(), 4)).toEqual(['0.0.0.0-126.255.255.255', '128.0.0.0-169.253.255.255', '169.255.0.0-223.255.255.255', '240.0.0.0-255.255.255.254']);
    expect(matchedRanges(ownership([tunnel('a', ['0.0.0.0/0', '::/0'])]).entries(), 6)).toEqual(['::', '::2-fe7f:ffff:ffff:ffff:ffff:ffff:ffff:ffff', 'fec0::-feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff']);
  });
});
