import { domainQueue } from '../core/domains.js';
import { icmpErrors } from '../core/icmp.js';
import type { Gate, Marks } from '../core/ports.js';
import type { Family } from '../core/prefix.js';
import { byDevice } from './by-device.js';
import { countedIn, held, passedOut, quietened, type Part } from './countable.js';
import { chainPrefix, countChain, guardChain, keptChain, learnChain } from './names.js';
import { hasDomains, type PlannedTunnel } from './planned-tunnel.js';
import type { Hook, Match, Rule, Table, TableName } from './rule.js';

const leave = { do: 'return' } as const;
const drop = { do: 'drop' } as const;

/** What rules there are beside those that always are. */
export interface RuleOptions {
  /** The guard stands in FORWARD, too: what reaches a flowtable from there is never seen again. */
  readonly guardForward: boolean;
}

/** The rules of one family for the tunnels that have prefixes in it. */
export function rulesOf(family: Family, tunnels: readonly PlannedTunnel[], marks: Marks, { guardForward }: RuleOptions): Record<TableName, Table> {
  const guards = mangle(family, tunnels, marks);
  return { mangle: guardForward ? withForwardGuard(guards, family, tunnels, marks) : guards, raw: raw(family, tunnels, marks), filter: filter(family, tunnels, marks), nat: nat(tunnels) };
}

/** OpenVPN's own packets: with each that goes through the tunnel there is one, so this is asked before anything that takes longer. */
const notTransport = ({ transport }: Marks): Match => ({ notMark: transport });

/**
 * The one list of exemptions of hold, guard and reject, as far as sets can't say it (ownership.ts has the rest), and but for
 * OpenVPN's own packets, which don't come to these chains.
 * `forwarded` packets have fewer of them: nobody on the LAN may reach an OpenVPN server or DHCP in clear through us.
 */
function exemptions(family: Family, packets: 'forwarded' | 'local' | 'leaving'): readonly Rule[] {
  // where a packet's origin is not known from the hook, its source says it
  const local: readonly Match[] = packets === 'leaving' ? [{ fromLocal: true }] : [];
  const dhcp = family === 4 ? { source: 68, destination: 67 } : { source: 546, destination: 547 };
  const ofThisHost: readonly Rule[] = [
    { if: [{ to: 'remote' }, ...local], then: leave },
    { if: [{ udp: dhcp }, ...local], then: leave },
  ];
  return [
    ...(packets === 'forwarded' ? [] : ofThisHost),
    ...(['local', 'broadcast', 'multicast'] as const).filter((type) => family === 4 || type !== 'broadcast').map((toType) => ({ if: [{ toType }], then: leave })),
    // Neighbour discovery (RFC 4861): what was forwarded has no hop limit of 255, so this can't be used to get past.
    ...(family === 6 ? [133, 134, 135, 136, 137].map((icmp) => ({ if: [{ icmp, hopLimit: 255 }], then: leave })) : []),
  ];
}

/** Holds, before conntrack sees the packet. Nobody listening means dropped: no --queue-bypass. */
function raw(family: Family, tunnels: readonly PlannedTunnel[], marks: Marks): Table {
  const [incoming, outgoing] = [`${chainPrefix}raw-in`, `${chainPrefix}raw-out`];
  const quiet = { in: tunnels.map((planned) => quietened(family, planned, 'in')), out: tunnels.map((planned) => quietened(family, planned, 'out')) };
  const [forwarded, local] = [tunnels.map((planned) => held(family, planned, 'in', marks)), tunnels.map((planned) => held(family, planned, 'out', marks))];
  const counting = count(family, tunnels);
  const learning = learn(family, tunnels, marks);
  const passes = (gate: Gate): Rule => ({ if: [{ gate, of: 'any' }], then: leave });
  return {
    hooks: [
      ...counting.hooks,
      { at: 'PREROUTING', rule: { if: [...fromOthers(tunnels), { to: 'any' }], then: { do: 'jump', chain: incoming } } },
      { at: 'OUTPUT', rule: { if: [notTransport(marks), { to: 'any' }], then: { do: 'jump', chain: outgoing } } },
      ...learning.hooks,
    ],
    chains: new Map<string, readonly Rule[]>([
      ...counting.chains,
      ...learning.chains,
      [incoming, [passes('open'), ...exemptions(family, 'forwarded'), passes('bypass'), ...inOne(quiet.in), passes('reject'), ...inOne(forwarded)]],
      [
        outgoing,
        [
          passes('open'),
          ...exemptions(family, 'local'),
          passes('bypass'),
          ...inOne(quiet.out),
          passes('reject'),
          // this host's own errors, answers to what came before, wake nobody
          ...icmpErrors[family].map((icmp): Rule => ({ if: [{ icmp }], then: drop })),
          ...inOne(local),
        ],
      ],
      ...ofTheirOwn([...quiet.in, ...quiet.out, ...forwarded, ...local]),
    ]),
  };
}

/** The counters of what comes out of the tunnels. In raw, where each packet is asked for its device anyway. */
function count(family: Family, tunnels: readonly PlannedTunnel[]): Table {
  const parts = new Map(tunnels.map((planned) => [planned, countedIn(family, planned)]));
  const coming = byDevice('in', mapValues(byTunnelDevice(tunnels), (own) => inOne(own.flatMap((planned) => parts.get(planned) ?? []))), countChain);
  return {
    hooks: [{ at: 'PREROUTING', rule: { if: coming.any, then: { do: 'jump', chain: countChain } } }],
    chains: new Map([...ofTheirOwn([...parts.values()]), ...coming.chains, [countChain, coming.rules] as const]),
  };
}

/**
 * An address that dnsmasq has just added is nobody's yet, and has no route: whatever the gate, packets to it wait until it is
 * the tunnel's, and then meet the rules again (learner.ts).
 */
function learn(family: Family, tunnels: readonly PlannedTunnel[], marks: Marks): Table {
  const own = tunnels.filter(hasDomains);
  if (own.length === 0) return { hooks: [], chains: new Map() };
  const queues = own.map(({ id, tunnel }): Rule => ({ if: [{ toDomain: { id } }], then: { do: 'queue', queue: domainQueue(tunnel.queue) } }));
  const hook = (at: Hook, first: (planned: PlannedTunnel) => Match, chain: string): Table['hooks'] => own.map((planned) => ({ at, rule: { if: [first(planned), { toDomain: { id: planned.id } }, { notTo: 'any' }], then: { do: 'jump', chain } } }));
  return {
    hooks: [...hook('PREROUTING', ({ tunnel }) => ({ notIn: tunnel.device }), learnChain('in')), ...hook('OUTPUT', () => notTransport(marks), learnChain('out'))],
    chains: new Map([
      [learnChain('in'), [...exemptions(family, 'forwarded'), ...queues]],
      [learnChain('out'), [...exemptions(family, 'local'), ...queues]],
    ]),
  };
}

/** The guard, and the counters of what leaves by the tunnels. */
function mangle(family: Family, tunnels: readonly PlannedTunnel[], marks: Marks): Table {
  const [guard, back] = [`${chainPrefix}guard`, `${chainPrefix}back`];
  const toKept: Rule = { if: [{ to: 'any' }], then: { do: 'goto', chain: keptChain } };
  const devices = byTunnelDevice(tunnels);
  // dnsmasq may have added an address when a packet to it had passed the rules in raw already
  const unlearned = (own: readonly PlannedTunnel[] = []): readonly Rule[] => tunnels.filter((planned) => hasDomains(planned) && !own.includes(planned)).map(({ id }) => ({ if: [{ toDomain: { id } }], then: { do: 'goto', chain: keptChain } }));
  const chainOf = ([first]: readonly PlannedTunnel[]): string => guardChain(first?.id ?? '');
  const leaving = byDevice('out', mapValues(devices, (own) => [{ if: [], then: { do: 'goto', chain: chainOf(own) } }]), guard, [toKept, ...unlearned()]);
  // What comes out of the tunnel may go anywhere: with `protect: 0.0.0.0/0`, LANs behind other routers are "protected" too.
  const answering = byDevice('in', mapValues(devices, (own) => own.map(({ id }) => ({ if: [{ to: { id } }], then: { do: 'mark', mark: marks.transport } }))), back);
  return {
    hooks: [
      { at: 'POSTROUTING', rule: { if: [notTransport(marks)], then: { do: 'jump', chain: guard } } },
      { at: 'FORWARD', rule: { if: answering.any, then: { do: 'jump', chain: back } } },
    ],
    chains: new Map<string, readonly Rule[]>([
      [keptChain, [...exemptions(family, 'leaving'), { if: [{ gate: 'bypass', of: 'any' }], then: leave }, { if: [], then: drop }]],
      ...[...devices.values()].map((own): [string, readonly Rule[]] => [chainOf(own), [...own.flatMap((planned) => passedOut(family, planned)), toKept, ...unlearned(own)]]),
      ...[...leaving.chains, [guard, leaving.rules] as const],
      ...[...answering.chains, [back, answering.rules] as const],
    ]),
  };
}

/**
 * A flow of which a packet comes by `flow add` in FORWARD passes no hook from then on, whatever becomes of that packet: so
 * what may not leave by this device doesn't get there. Under `reject`, and with the reject mark, it is answered there.
 */
function withForwardGuard(table: Table, family: Family, tunnels: readonly PlannedTunnel[], marks: Marks): Table {
  const [chain, other] = [`${chainPrefix}fwd-guard`, `${chainPrefix}fwd-kept`];
  const leaving = byDevice('out', mapValues(byTunnelDevice(tunnels), (own) => own.map(({ id }) => ({ if: [{ to: { id } }], then: leave }))), chain, [{ if: [], then: { do: 'goto', chain: other } }]);
  const kept: readonly Rule[] = [
    ...[marks.reject, marks.transport].map((mark) => ({ if: [{ mark }], then: leave })),
    ...exemptions(family, 'forwarded'),
    ...(['bypass', 'reject'] as const).map((gate): Rule => ({ if: [{ gate, of: 'any' }], then: leave })),
    { if: [], then: drop },
  ];
  const hook = { at: 'FORWARD', rule: { if: [{ to: 'any' }], then: { do: 'jump', chain } } } as const;
  return { hooks: [...table.hooks, hook], chains: new Map([...table.chains, [other, kept], ...leaving.chains, [chain, leaving.rules]]) };
}

/** Answers: what was released with the reject mark, and everything under the gate `reject`. */
function filter(family: Family, tunnels: readonly PlannedTunnel[], marks: Marks): Table {
  const [forward, output, answer] = [`${chainPrefix}forward`, `${chainPrefix}output`, `${chainPrefix}answer`];
  const [forwarded, local] = [`${chainPrefix}rejected-fwd`, `${chainPrefix}rejected-out`];
  const first = (chain: string): readonly Rule[] => [
    { if: [{ mark: marks.reject }], then: { do: 'goto', chain: answer } },
    { if: [{ gate: 'reject', of: 'any' }], then: { do: 'goto', chain } },
  ];
  const rejected = ({ id, tunnel }: PlannedTunnel, not: readonly Match[]): Rule => ({ if: [...not, { to: { id } }], then: tunnel.onFailure === 'drop' ? drop : { do: 'goto', chain: answer } });
  return {
    hooks: [
      { at: 'FORWARD', rule: { if: [...fromOthers(tunnels), { to: 'any' }], then: { do: 'jump', chain: forward } } },
      { at: 'OUTPUT', rule: { if: [notTransport(marks), { to: 'any' }], then: { do: 'jump', chain: output } } },
    ],
    chains: new Map<string, readonly Rule[]>([
      [answer, [{ if: [{ protocol: 'tcp' }], then: { do: 'reset' } }, { if: [], then: { do: 'prohibit' } }]],
      [forwarded, [...exemptions(family, 'forwarded'), ...tunnels.map((planned) => rejected(planned, [{ notIn: planned.tunnel.device }]))]],
      [local, [...exemptions(family, 'local'), ...tunnels.map((planned) => rejected(planned, []))]],
      [forward, first(forwarded)],
      [output, first(local)],
    ]),
  };
}

/**
 * Local sources only: what is forwarded is never NATed. Nor is what doesn't want the tunnel, since a command's device
 * may carry other traffic, too, nor what has the tunnel's address already.
 */
function nat(tunnels: readonly PlannedTunnel[]): Table {
  const chain = `${chainPrefix}nat`;
  return {
    hooks: [{ at: 'POSTROUTING', rule: { if: [{ fromLocal: true }], then: { do: 'jump', chain } } }],
    chains: new Map([[chain, tunnels.map(({ id, tunnel }) => ({ if: [{ out: tunnel.device }, { to: { id } }, { notKept: { id } }], then: { do: 'masquerade' } }))]]),
  };
}

/** What comes out of a tunnel's own device is neither held nor answered: where there is but one, its packets are asked nothing else. */
function fromOthers(tunnels: readonly PlannedTunnel[]): readonly Match[] {
  const [device, ...others] = byTunnelDevice(tunnels).keys();
  return device === undefined || others.length > 0 ? [] : [{ notIn: device }];
}

/** Tunnels by their devices: a command's may be that of several. */
function byTunnelDevice(tunnels: readonly PlannedTunnel[]): ReadonlyMap<string, readonly PlannedTunnel[]> {
  const devices = new Map<string, readonly PlannedTunnel[]>();
  for (const planned of tunnels) devices.set(planned.tunnel.device, [...(devices.get(planned.tunnel.device) ?? []), planned]);
  return devices;
}

function mapValues<Value>(map: ReadonlyMap<string, Value>, rulesOf: (value: Value) => readonly Rule[]): ReadonlyMap<string, readonly Rule[]> {
  return new Map([...map].map(([key, value]) => [key, rulesOf(value)]));
}

const inOne = (parts: readonly Part[]): readonly Rule[] => parts.flatMap(({ rules }) => rules);

const ofTheirOwn = (parts: readonly Part[]): Part['chains'] => parts.flatMap(({ chains }) => chains);
