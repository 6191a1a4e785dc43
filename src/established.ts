import { networkInterfaces, type NetworkInterfaceInfo } from 'node:os';
import { DaemonError, messageOf } from './core/errors.js';
import { partsOf, wentAnotherWay, type Forget, type ProtectedPart } from './core/established.js';
import type { Gate, GatePort, GateTunnel, LogPort } from './core/ports.js';
import { formatNet, parseNet, type Family } from './core/prefix.js';
import { overriding } from './gate/overriding.js';
import { Ownership } from './gate/ownership.js';
import type { Conntrack } from './host/conntrack.js';
import { hasDevice } from './link/device.js';

/** The part of `Conntrack` that is needed. */
export type ConntrackPort = Pick<Conntrack, 'list' | 'forget'>;

type OwnAddress = Pick<NetworkInterfaceInfo, 'address' | 'cidr'>;

/** The devices of this host; others in tests. */
export interface Devices {
  addresses(): NodeJS.Dict<readonly OwnAddress[]>;
  has(device: string): boolean;
}

export const ownDevices: Devices = { addresses: networkInterfaces, has: hasDevice };

/**
 * A gate that, as soon as it stands, makes the kernel forget the connections to what it protects that had gone another
 * way: for the tunnels that don't say `keep`. It also does so when a bypass ends, and for what a later install protects
 * besides, and where packets may have gone in clear until a repair. What the guard stops would otherwise keep the NAT mapping
 * of the other way for ever, and what a flowtable forwards passes no guard. What was protected before has gone no other way since.
 */
export function withoutEstablished(gate: GatePort, conntrack: ConntrackPort, log: LogPort, devices = ownDevices): GatePort {
  let tunnels: readonly GateTunnel[] = [];
  const gates = new Map<string, Gate>();
  /** What no packet got to but through a tunnel since the last install. Networks, not texts: there may be a hundred thousand, and they are compared only when something changes. */
  let guarded: readonly ProtectedPart[] = [];
  const partsOfThese = (names: readonly string[]): ReadonlyMap<string, readonly ProtectedPart[]> => protectedParts(tunnels, names, devices);
  const keeps = (name: string): boolean => tunnels.find((tunnel) => tunnel.name === name)?.established === 'keep';
  const end = (parts: ReadonlyMap<string, readonly ProtectedPart[]>, not: readonly ProtectedPart[]): Promise<void> => {
    const ending = [...parts].filter(([name]) => !keeps(name));
    return endEstablished(ending.map(([name]) => name), without(ending.flatMap(([, own]) => own), not), addressesElsewhere(tunnels, devices), { conntrack, log });
  };
  const changed: Pick<GatePort, 'install' | 'set'> = {
    install: async (...args) => {
      await gate.install(...args);
      const [installed, gateOf = () => 'hold' as const] = args;
      tunnels = installed;
      const earlier = new Map(gates);
      gates.clear();
      for (const { name } of installed) gates.set(name, gateOf(name) ?? earlier.get(name) ?? 'hold');
      const parts = partsOfThese([...gates].flatMap(([name, now]) => (now === 'bypass' ? [] : [name])));
      await end(parts, guarded);
      // Of a tunnel that keeps them, some may still go another way.
      guarded = [...parts].flatMap(([name, own]) => (keeps(name) ? [] : own));
    },
    set: async (name, now, ...more) => {
      await gate.set(name, now, ...more);
      const before = gates.get(name);
      gates.set(name, now);
      if ((before === 'bypass') === (now === 'bypass')) return;
      const parts = partsOfThese([name]);
      const own = [...parts.values()].flat();
      if (now === 'bypass') guarded = without(guarded, own);
      else {
        await end(parts, []);
        guarded = [...guarded, ...own];
      }
    },
  };
  gate.events$.subscribe((event) => {
    if (event.type === 'gate-repaired') void end(partsOfThese([...event.escaped].flatMap(([name, packets]) => (packets > 0 && gates.get(name) !== 'bypass' ? [name] : []))), []);
  });
  return overriding(gate, changed);
}

function without(parts: readonly ProtectedPart[], not: readonly ProtectedPart[]): readonly ProtectedPart[] {
  if (not.length === 0) return parts;
  const texts = new Set(not.map(({ net }) => formatNet(net)));
  return parts.filter(({ net }) => !texts.has(formatNet(net)));
}

interface Means {
  readonly conntrack: ConntrackPort;
  readonly log: LogPort;
}

async function endEstablished(names: readonly string[], parts: readonly ProtectedPart[], addresses: readonly OwnAddress[], means: Means): Promise<void> {
  const { log } = means;
  const elsewhere = new Set(addresses.map(({ address }) => address));
  for (const family of ([4, 6] as const).filter((each) => parts.some(({ net }) => net.family === each))) {
    try {
      await endIn(family, parts.filter(({ net }) => net.family === family), elsewhere, means);
    } catch (error) {
      const hint = error instanceof DaemonError && error.hint !== undefined ? ` (${error.hint}; or set \`established: keep\`)` : '';
      log.warn({ event: 'established.not_ended', code: error instanceof DaemonError ? error.code : undefined, tunnels: names }, `connections to protected prefixes that are older than the gate keep their NAT: ${messageOf(error)}${hint}`);
      return;
    }
  }
}

async function endIn(family: Family, parts: readonly ProtectedPart[], elsewhere: ReadonlySet<string>, { conntrack, log }: Means): Promise<void> {
  const ended: (Forget & { readonly connections: number })[] = [];
  for (const forget of wentAnotherWay(await conntrack.list(family), parts, elsewhere)) ended.push({ ...forget, connections: await conntrack.forget(forget) });
  const connections = ended.reduce((sum, each) => sum + each.connections, 0);
  if (connections > 0) log.info({ event: 'established.ended', connections, to: ended.slice(0, 20).map(({ destination }) => destination) }, `${connections} connections to protected prefixes that went another way were forgotten`);
}

/** What the gate protects for each of the named tunnels: the servers' addresses and the LANs are not. */
export function protectedParts(tunnels: readonly GateTunnel[], names: readonly string[], devices: Devices): ReadonlyMap<string, readonly ProtectedPart[]> {
  if (names.length === 0) return new Map();
  const lans = addressesElsewhere(tunnels, devices).flatMap(({ cidr }) => (cidr === null ? [] : [parseNet(cidr)]));
  const ownership = new Ownership(tunnels, lans);
  const remotes = tunnels.flatMap((tunnel) => tunnel.remotes.map(parseNet));
  return new Map(tunnels.filter(({ name }) => names.includes(name)).map(({ name, device }) => {
    const there = devices.has(device);
    return [name, partsOf(ownership.entries(name), remotes).map((net) => ({ net, hasDevice: there }))];
  }));
}

/** Those of this host that are no tunnel's; what a tunnel keeps is on `lo`. A label stands behind the device's name. */
function addressesElsewhere(tunnels: readonly GateTunnel[], devices: Devices): readonly OwnAddress[] {
  const own = new Set(['lo', ...tunnels.map(({ device }) => device)]);
  return Object.entries(devices.addresses()).flatMap(([name, found]) => (own.has(name.replace(/:.*/, '')) ? [] : (found ?? [])));
}
