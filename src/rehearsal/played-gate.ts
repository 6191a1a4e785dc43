import type { GatePort } from '../core/ports.js';
import type { Firewall } from '../gate/firewall.js';
import { NetfilterGate } from '../gate/netfilter-gate.js';
import { overriding } from '../gate/overriding.js';
import { Routing } from '../gate/routing.js';
import { DEFAULT_MARK, marksOf } from '../core/marks.js';

const nothing = (): undefined => undefined;
const done = (): Promise<void> => Promise.resolve();

const firewall: Firewall = {
  name: 'played',
  probe: done,
  install: () => Promise.resolve({ tookOver: false, gates: 'closed' }),
  intact: () => Promise.resolve(true),
  mend: () => Promise.resolve('kept'),
  hasEvents: () => Promise.resolve(false),
  switchGate: nothing,
  readGate: () => Promise.resolve(undefined),
  addOwn: nothing,
  addAny: nothing,
  keepAddresses: done,
  counters: () => Promise.resolve(new Map()),
  remove: () => Promise.resolve([]),
};

/** The gate as it is, and as it is wrapped, but for its firewall and the programs: there is none, and they do nothing. */
export function playedGate(othersFirst: () => Promise<void>): GatePort {
  const marks = marksOf(DEFAULT_MARK);
  const routing = new Routing(() => Promise.resolve(''), nothing, { metric: 4000, priority: 90, mask: marks.mask, warn: nothing });
  const gate = new NetfilterGate({ firewall: () => Promise.resolve(firewall), otherFirewalls: () => Promise.resolve([]), routing, startWatch: undefined, sent: () => 0, netns: undefined, marks, closingTable: 20_800, mostLearned: 0, guardForward: false, othersFirst, warn: nothing });
  return overriding(overriding(gate, {}), {});
}
