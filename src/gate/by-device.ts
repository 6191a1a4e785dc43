import type { Match, Rule } from './rule.js';

/** So many devices are asked for one after the other; of more, the beginnings of their names first. */
const FEW = 6;

export interface ByDevice {
  /** What all of the devices meet, to be asked before. */
  readonly any: readonly Match[];
  readonly rules: readonly Rule[];
  readonly chains: readonly (readonly [string, readonly Rule[]])[];
}

/**
 * Rules that find those of a packet's device without asking for each of a hundred: a tree of the names' beginnings, its
 * branches chains that begin with `chain`. `otherwise` is at the end of each of them, for what none of the devices matches.
 */
export function byDevice(way: 'in' | 'out', of: ReadonlyMap<string, readonly Rule[]>, chain: string, otherwise: readonly Rule[] = []): ByDevice {
  const match = (device: string): Match => (way === 'in' ? { in: device } : { out: device });
  const chains: [string, readonly Rule[]][] = [];
  const only = (device: string): readonly Rule[] => (of.get(device) ?? []).map((rule) => ({ ...rule, if: [match(device), ...rule.if] }));
  const rulesOf = (devices: readonly string[], known: number): readonly Rule[] => {
    if (devices.length <= FEW) return devices.flatMap(only);
    const groups = new Map<string, string[]>();
    for (const device of devices) groups.set(device.slice(0, known + 1), [...(groups.get(device.slice(0, known + 1)) ?? []), device]);
    if (groups.size === 1) return rulesOf(devices, known + 1);
    return [...groups].flatMap(([beginning, members]): readonly Rule[] => {
      if (members.length === 1) return members.flatMap(only);
      const branch = `${chain}.${chains.length}`;
      const place = chains.push([branch, []]) - 1;
      chains[place] = [branch, [...rulesOf(members, known + 1), ...otherwise]];
      return [{ if: [match(`${beginning}*`)], then: { do: 'goto', chain: branch } }];
    });
  };
  const devices = [...of.keys()];
  return { any: commonBeginning(devices).map(match), rules: [...rulesOf(devices, 0), ...otherwise], chains };
}

/** As a device's name with a `*`, or of a single device its name; none if they have nothing in common. */
function commonBeginning([first = '', ...others]: readonly string[]): readonly string[] {
  if (others.length === 0) return [first];
  let length = first.length;
  while (!others.every((device) => device.startsWith(first.slice(0, length)))) length--;
  return length === 0 ? [] : [`${first.slice(0, length)}*`];
}
