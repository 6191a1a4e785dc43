import { icmpErrors } from '../core/icmp.js';
import type { Marks } from '../core/ports.js';
import type { Family } from '../core/prefix.js';
import { countedIn, held, passedOut, type Part } from './countable.js';
import { chainPrefix, countChain, guardChain } from './names.js';
import type { PlannedTunnel } from './planned-tunnel.js';
import type { Match, Rule, Table, TableName } from './rule.js';

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

/**
 * The one list of exemptions of hold, guard and reject, as far as sets can't say it (ownership.ts has the rest).
 * `forwarded` packets have fewer of them: nobody on the LAN may reach an OpenVPN server or DHCP in clear through us.
 */
function exemptions(family: Family, marks: Marks, packets: 'forwarded' | 'local' | 'leaving'): readonly Rule[] {
  // where a packet's origin is not known from the hook, its source says it
  const local: readonly Match[] = packets === 'leaving' ? [{ fromLocal: true }] : [];
  const dhcp = family === 4 ? { source: 68, destination: 67 } : { source: 546, destination: 547 };
  const ofThisHost: readonly Rule[] = [
    { if: [{ to: 'remote' }, ...local], then: leave },
    { if: [{ udp: dhcp }, ...local], then: leave },
  ];
  return [
    ...(packets === 'forwarded' ? [] : [{ if: [{ mark: marks.transport }], then: leave }, ...ofThisHost]),
    ...(['local', 'broadcast', 'multicast'] as const).filter((type) => family === 4 || type !== 'broadcast').map((toType) => ({ if: [{ toType }], then: leave })),
    // Neighbour discovery (RFC 4861): what was forwarded has no hop limit of 255, so this can't be used to get past.
    ...(family === 6 ? [133, 134, 135, 136, 137].map((icmp) => ({ if: [{ icmp, hopLimit: 255 }], then: leave })) : []),
  ];
}

/** Holds, before conntrack sees the packet. Nobody listening means dropped: no --queue-bypass. */
function raw(family: Family, tunnels: readonly PlannedTunnel[], marks: Marks): Table {
  const [incoming, outgoing, errors] = [`${chainPrefix}raw-in`, `${chainPrefix}raw-out`, `${chainPrefix}raw-err`];
  const [forwarded, local] = [tunnels.map((planned) => held(family, planned, 'in', marks)), tunnels.map((planned) => held(family, planned, 'out', marks))];
  return {
    hooks: [
      { at: 'PREROUTING', rule: { if: [{ to: 'any' }], then: { do: 'jump', chain: incoming } } },
      { at: 'OUTPUT', rule: { if: [{ to: 'any' }], then: { do: 'jump', chain: outgoing } } },
    ],
    chains: new Map<string, readonly Rule[]>([
      [incoming, [...exemptions(family, marks, 'forwarded'), ...inOne(forwarded)]],
      [
        outgoing,
        [
          ...exemptions(family, marks, 'local'),
          // this host's own errors, answers to what came before, wake nobody
          ...icmpErrors[family].map((icmp) => ({ if: [{ icmp }], then: { do: 'jump' as const, chain: errors } })),
          ...inOne(local),
        ],
      ],
      [errors, tunnels.map(({ id }) => ({ if: [{ to: { id }, gate: 'hold' }], then: drop }))],
      ...ofTheirOwn([...forwarded, ...local]),
    ]),
  };
}

/** The guard, and the counters of what matches `protect`. */
function mangle(family: Family, tunnels: readonly PlannedTunnel[], marks: Marks): Table {
  const [guard, back] = [`${chainPrefix}guard`, `${chainPrefix}back`];
  const guards = tunnels.map((planned): [string, readonly Rule[]] => [
    guardChain(planned.id),
    [
      ...passedOut(family, planned),
      { if: [{ to: { id: planned.id }, gate: 'bypass' }], then: leave },
      { if: [], then: drop },
    ],
  ]);
  const counted = tunnels.map((planned) => countedIn(family, planned));
  return {
    hooks: [
      { at: 'POSTROUTING', rule: { if: [{ to: 'any' }], then: { do: 'jump', chain: guard } } },
      { at: 'FORWARD', rule: { if: [{ to: 'any' }], then: { do: 'jump', chain: back } } },
      { at: 'PREROUTING', rule: { if: [{ from: 'any' }], then: { do: 'jump', chain: countChain } } },
    ],
    chains: new Map<string, readonly Rule[]>([
      ...guards,
      ...ofTheirOwn(counted),
      [guard, [...exemptions(family, marks, 'leaving'), ...tunnels.map(({ id }): Rule => ({ if: [{ to: { id } }], then: { do: 'goto', chain: guardChain(id) } }))]],
      // What comes out of the tunnel may go anywhere: with `protect: 0.0.0.0/0`, LANs behind other routers are "protected" too.
      [back, tunnels.map(({ id, tunnel }) => ({ if: [{ in: tunnel.device }, { to: { id } }], then: { do: 'mark', mark: marks.transport } }))],
      [countChain, inOne(counted)],
    ]),
  };
}

/**
 * A flow of which a packet comes by `flow add` in FORWARD passes no hook from then on, whatever becomes of that packet: so
 * what may not leave by this device doesn't get there. Under `reject`, and with the reject mark, it is answered there.
 */
function withForwardGuard(table: Table, family: Family, tunnels: readonly PlannedTunnel[], marks: Marks): Table {
  const chain = `${chainPrefix}fwd-guard`;
  const rules: readonly Rule[] = [
    ...[marks.reject, marks.transport].map((mark) => ({ if: [{ mark }], then: leave })),
    ...tunnels.map(({ id, tunnel }) => ({ if: [{ out: tunnel.device }, { to: { id } }], then: leave })),
    ...exemptions(family, marks, 'forwarded'),
    ...tunnels.flatMap(({ id }) => (['hold', 'open'] as const).map((gate) => ({ if: [{ to: { id }, gate }], then: drop }))),
  ];
  return { hooks: [...table.hooks, { at: 'FORWARD', rule: { if: [{ to: 'any' }], then: { do: 'jump', chain } } }], chains: new Map([...table.chains, [chain, rules]]) };
}

/** Answers: what was released with the reject mark, and everything under the gate `reject`. */
function filter(family: Family, tunnels: readonly PlannedTunnel[], marks: Marks): Table {
  const [forward, output, answer] = [`${chainPrefix}forward`, `${chainPrefix}output`, `${chainPrefix}answer`];
  const marked: Rule = { if: [{ mark: marks.reject }], then: { do: 'goto', chain: answer } };
  const rejected = ({ id, tunnel }: PlannedTunnel, not: readonly Match[]): Rule => ({ if: [...not, { to: { id }, gate: 'reject' }], then: tunnel.onFailure === 'drop' ? drop : { do: 'goto', chain: answer } });
  return {
    hooks: [
      { at: 'FORWARD', rule: { if: [{ to: 'any' }], then: { do: 'jump', chain: forward } } },
      { at: 'OUTPUT', rule: { if: [{ to: 'any' }], then: { do: 'jump', chain: output } } },
    ],
    chains: new Map<string, readonly Rule[]>([
      [answer, [{ if: [{ protocol: 'tcp' }], then: { do: 'reset' } }, { if: [], then: { do: 'prohibit' } }]],
      [forward, [marked, ...exemptions(family, marks, 'forwarded'), ...tunnels.map((planned) => rejected(planned, [{ notIn: planned.tunnel.device }]))]],
      [output, [marked, ...exemptions(family, marks, 'local'), ...tunnels.map((planned) => rejected(planned, []))]],
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

const inOne = (parts: readonly Part[]): readonly Rule[] => parts.flatMap(({ rules }) => rules);

const ofTheirOwn = (parts: readonly Part[]): Part['chains'] => parts.flatMap(({ chains }) => chains);
