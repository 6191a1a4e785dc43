import type { CarryOut, Gate } from '../core/ports.js';
import type { Family } from '../core/prefix.js';
import { parseGate } from './ipset.js';
import type { ChangeList } from './ipset-lists.js';
import { inGateList } from './iptables.js';
import { gateList, ownSet } from './names.js';
import type { PlannedTunnel } from './planned-tunnel.js';
import type { Runner } from './runner.js';
import type { Switching } from './switching.js';

interface Change {
  readonly change: 'add' | 'del';
  readonly gate: Gate;
  readonly family: Family;
}

/**
 * One list of sets for each gate but `hold`, with those of all tunnels whose gate it is. To change a gate is to become a
 * member of one, or to leave one, of both families in turn; between two lists the one that rules ask for first decides.
 */
export function ipsetSwitching(run: Runner, changeList: ChangeList): Switching {
  const make = (id: string, { change, gate, family }: Change, carryOut?: CarryOut): void => { changeList(change, gateList(gate, family), ownSet(id, family), carryOut); };
  return {
    suffix: '',
    gateLists: true,
    matchGate: inGateList,
    change: ({ id, families }, from, to, carryOut) => {
      const become = families.map((family): Change => ({ change: 'add', gate: to, family }));
      const leave = families.map((family): Change => ({ change: 'del', gate: from, family }));
      const made: Change[] = [];
      try {
        for (const change of [...(to === 'hold' ? [] : become), ...(from === 'hold' ? [] : leave)]) {
          make(id, change, carryOut);
          made.unshift(change);
        }
      } catch (error) {
        for (const change of made) make(id, { ...change, change: change.change === 'add' ? 'del' : 'add' });
        throw error;
      }
    },
    read: async (planned: PlannedTunnel) => parseGate(planned, await run('ipset', ['save'])),
  };
}
