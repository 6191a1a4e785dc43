import type { GatePort, Marks } from '../core/ports.js';
import { DaemonError, messageOf } from '../core/errors.js';
import { conditionSwitching } from './condition.js';
import type { Firewall } from './firewall.js';
import { IptablesFirewall } from './iptables-firewall.js';
import { NetfilterGate } from './netfilter-gate.js';
import { createAddAddress, createChangeList } from './ipset-lists.js';
import { ipsetSwitching } from './ipset-switching.js';
import { NftFirewall } from './nft-firewall.js';
import { Routing } from './routing.js';
import { createChangeRule } from './rule-request.js';
import { sentPackets } from './sent-packets.js';
import { noWatch, nftWatch } from './watch.js';
import { createReadyRunner, createRunner, type ExecOptions } from './runner.js';

/**
 * `iptables` is what the machine means by that name; the next two name one of its two kernel interfaces. `auto` takes
 * `iptables` (with ipset, whose change of gate takes a millisecond, beside sets of any size) where it works, else `nft`.
 * `condition` is iptables with ipset and the match `condition` of Xtables-addons; `auto` never takes it, since where it
 * works `iptables` does, without a module that distributions don't have.
 */
export type Backend = 'auto' | 'iptables' | 'iptables-legacy' | 'iptables-nft' | 'nft' | 'condition';

export interface GateOptions {
  /** Default `auto`. */
  readonly backend?: Backend;
  readonly marks: Marks;
  /** Metric of the catch routes: worse than any real route's. Default 4000. */
  readonly routeMetric?: number;
  /** The first of the routing tables for `catchFirst`, one per tunnel. Default 20800. */
  readonly closingTable?: number;
  /** Priority of the routing rules of `catchFirst`: after `local` (0), before everything that routes. Default 90. */
  readonly closingPriority?: number;
  /** Addresses of domains that become tunnels' at most, in all of them together: each has routes of its own. Default 10,000. */
  readonly mostLearned?: number;
  /** Packets that may not leave by the device that they are routed to come to no flowtable either. Default false. */
  readonly guardForward?: boolean;
  readonly exec?: ExecOptions;
  /**
   * Looks after what is installed: by the kernel's events where there are any (a program that sleeps), else after every
   * change of a gate; brings back what somebody took away. Default false.
   */
  readonly watch?: boolean;
  /** Waited for before a gate opens: packets that wait are in more haste than those that pass through us until it is open. Default: nothing. */
  readonly othersFirst?: () => Promise<void>;
  /** Told of what the user should know but nothing fails for: an event name and a sentence. */
  readonly warn?: (event: string, message: string) => void;
}

interface Candidates {
  readonly iptables: Firewall;
  readonly nft: Firewall;
}

/** `switching` decides what the iptables backend is: with ipset, or with condition. */
function candidates(backend: Backend, exec: ExecOptions | undefined): Candidates {
  const run = createRunner(exec);
  const switching = backend === 'condition' ? conditionSwitching(exec) : ipsetSwitching(run, createChangeList(exec));
  return {
    iptables: new IptablesFirewall(run, switching, createAddAddress(exec), backend === 'iptables-legacy' ? 'legacy' : backend === 'iptables-nft' ? 'nft' : 'default'),
    nft: new NftFirewall(run, createReadyRunner(exec)),
  };
}

/** What `auto` takes is the first of these that works. */
const autoOrder = ['iptables', 'nft'] as const;

/** The gate of this machine. Nothing is done until `install`. */
export function createGate({ backend = 'auto', marks, routeMetric = 4000, closingTable = 20_800, closingPriority = 90, mostLearned = 10_000, guardForward = false, exec, watch = false, othersFirst = () => Promise.resolve(), warn = () => undefined }: GateOptions): GatePort {
  const { iptables, nft } = candidates(backend, exec);
  let chosen: Promise<Firewall> | undefined;
  const firewall = (): Promise<Firewall> => (chosen ??= choose(backend, { iptables, nft }));
  let others: Promise<readonly Firewall[]> | undefined;
  const otherFirewalls = async (): Promise<readonly Firewall[]> => {
    const other = (await firewall()) === nft ? iptables : nft;
    return (await works(other)) ? [other] : [];
  };
  return new NetfilterGate({
    firewall,
    otherFirewalls: () => (others ??= otherFirewalls()),
    routing: new Routing(createRunner(exec), createChangeRule(exec), { metric: routeMetric, priority: closingPriority, mask: marks.mask, warn }),
    startWatch: watch ? async () => ((await (await firewall()).hasEvents()) ? nftWatch(exec) : noWatch) : undefined,
    sent: sentPackets,
    netns: exec?.netns,
    marks,
    closingTable,
    mostLearned,
    guardForward,
    othersFirst,
    warn,
  });
}

async function choose(backend: Backend, all: Candidates): Promise<Firewall> {
  if (backend !== 'auto') return backend === 'nft' ? all.nft : all.iptables;
  const reasons: string[] = [];
  let denied: DaemonError | undefined;
  for (const name of autoOrder) {
    const reason = await whyNot(all[name]);
    if (reason === undefined) return all[name];
    if (reason instanceof DaemonError && reason.code === 'NOT_PERMITTED') denied ??= reason;
    reasons.push(`${all[name].name}: ${messageOf(reason)}`);
  }
  if (denied !== undefined) throw denied;
  throw new DaemonError('PROGRAM_MISSING', `no firewall works here: ${reasons.join('; ')}`, { hint: 'install one; in Debian: apt install iptables ipset' });
}

/** Undefined if it works here. */
async function whyNot(firewall: Firewall): Promise<unknown> {
  try {
    await firewall.probe();
    return undefined;
  } catch (cause) {
    return cause ?? new Error('it does not tell why');
  }
}

async function works(firewall: Firewall): Promise<boolean> {
  return (await whyNot(firewall)) === undefined;
}

/** What one backend said when it was asked whether it works here. */
export interface BackendProbe {
  readonly backend: (typeof autoOrder)[number] | 'condition';
  /** Absent if it works. */
  readonly whyNot?: string;
}

/** Asks every backend that a configuration can name, in the order of `auto`'s liking; changes nothing. */
export async function probeBackends(exec?: ExecOptions): Promise<readonly BackendProbe[]> {
  const all = { ...candidates('auto', exec), condition: candidates('condition', exec).iptables };
  return Promise.all([...autoOrder, 'condition' as const].map(async (backend) => {
    const reason = await whyNot(all[backend]);
    return reason === undefined ? { backend } : { backend, whyNot: messageOf(reason) };
  }));
}

/** What `auto` makes of these answers. */
export function autoChoice(probes: readonly BackendProbe[]): BackendProbe['backend'] | undefined {
  return autoOrder.find((name) => probes.some(({ backend, whyNot: reason }) => backend === name && reason === undefined));
}
