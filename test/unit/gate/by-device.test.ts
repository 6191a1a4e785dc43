import { describe, expect, it } from '@jest/globals';
import { byDevice } from '../../../src/gate/by-device.js';
import type { Rule } from '../../../src/gate/rule.js';

const leaf = (device: string): readonly Rule[] => [{ if: [], then: { do: 'goto', chain: device } }];
const treeOf = (devices: readonly string[]) => byDevice('out', new Map(devices.map((device) => [device, leaf(device)])), 'tree', [{ if: [], then: { do: 'drop' } }]);

/** Where a packet that leaves by this device comes to, and how many rules it was asked by. */
function walk({ rules, chains }: ReturnType<typeof treeOf>, device: string): { readonly end: string; readonly asked: number } {
  let [current, asked]: [readonly Rule[], number] = [rules, 0];
  for (;;) {
    const hit = current.find((rule) => {
      asked++;
      return rule.if.every((match) => 'out' in match && (match.out.endsWith('*') ? device.startsWith(match.out.slice(0, -1)) : device === match.out));
    });
    if (hit?.then.do !== 'goto') return { end: hit?.then.do ?? 'nothing', asked };
    const { chain } = hit.then;
    const next = chains.find(([name]) => name === chain);
    if (next === undefined) return { end: chain, asked };
    [, current] = next;
  }
}

describe('rules by device', () => {
  const hundred = Array.from({ length: 100 }, (_, index) => `ovpn-t${index}`);

  it.each([[['tun0']], [['tun0', 'wg0', 'ovpn-a', 'ovpn-b', 'ovpn-ab', 'ovpn-abc', 'o', 'ovpn-', 'x']], [hundred], [[...hundred, 'wg0', 'ovpn', 'ovpn-t']]])('find each of %p, and none of the others', (devices) => {
    const tree = treeOf(devices);
    for (const device of devices) expect(walk(tree, device).end).toBe(device);
    for (const other of ['lan0', 'ovpn-t100', 'ovpn-t1x', 'tun', 'ovpn-abcd', '']) expect(walk(tree, other).end).toBe('drop');
  });

  it('ask a packet of a hundred devices a few times, and one of none of them twice', () => {
    const tree = treeOf(hundred);
    expect(Math.max(...hundred.map((device) => walk(tree, device).asked))).toBeLessThanOrEqual(2 * 11 + 1);
    expect(treeOf(hundred).any).toEqual([{ out: 'ovpn-t*' }]);
  });

  it('tell what all devices have in common', () => {
    expect([treeOf(['tun0']).any, treeOf(['tun0', 'tun1']).any, treeOf(['tun0', 'wg0']).any]).toEqual([[{ out: 'tun0' }], [{ out: 'tun*' }], []]);
  });
});
