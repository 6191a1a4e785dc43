import type { GatePort, Marks } from '../core/ports.js';
import type { Firewall } from './firewall.js';
import { NetfilterGate } from './netfilter-gate.js';
import { IptablesFirewall, type Flavour } from './iptables-firewall.js';
import { Routing } from './routing.js';
import { createReadyRunner, createRunner, type ExecOptions } from './runner.js';

export interface GateOptions {
  /** `auto` probes; `iptables` is what the machine means by that name; the others name one of its two kernel interfaces. */
  readonly backend?: 'auto' | 'iptables' | 'iptables-legacy' | 'iptables-nft';
  readonly marks: Marks;
  /** Metric of the catch routes: worse than any real route's. Default 4000. */
  readonly routeMetric?: number;
  /** The first of the routing tables for `catchFirst`, one per tunnel. Default 20800. */
  readonly closingTable?: number;
  /** Priority of the routing rules of `catchFirst`: after `local` (0), before everything that routes. Default 90. */
  readonly closingPriority?: number;
  readonly exec?: ExecOptions;
  /** Told of what the user should know but nothing fails for: an event name and a sentence. */
  readonly warn?: (event: string, message: string) => void;
}

/** The gate of this machine. Nothing is done until `install`. */
export function createGate({ backend = 'auto', marks, routeMetric = 4000, closingTable = 20_800, closingPriority = 90, exec, warn = () => undefined }: GateOptions): GatePort {
  const run = createRunner(exec);
  const firewall: Firewall = new IptablesFirewall(run, createReadyRunner(exec), flavourOf(backend));
  return new NetfilterGate({
    firewall: () => Promise.resolve(firewall),
    otherFirewalls: () => Promise.resolve([]),
    routing: new Routing(run, { metric: routeMetric, priority: closingPriority, mask: marks.mask, warn }),
    marks,
    closingTable,
    warn,
  });
}

function flavourOf(backend: NonNullable<GateOptions['backend']>): Flavour {
  switch (backend) {
    case 'auto':
    case 'iptables':
      return 'default';
    case 'iptables-legacy':
      return 'legacy';
    case 'iptables-nft':
      return 'nft';
  }
}
