import { parseGate, switchedSets } from './ipset.js';
import type { SwapSets } from './ipset-swap.js';
import { inGateSet } from './iptables.js';
import type { Runner } from './runner.js';
import type { Switching } from './switching.js';

/** One list of sets for each gate, of which one is full: to change a gate is to swap two of them, in one step. */
export function ipsetSwitching(run: Runner, swap: SwapSets): Switching {
  return {
    suffix: '',
    gateSets: true,
    matchGate: inGateSet,
    change: (id, from, to, carryOut) => { swap(...switchedSets(id, from, to), carryOut); },
    read: async (id) => parseGate(id, await run('ipset', ['save'])),
  };
}
