import { setImmediate, setTimeout as sleep } from 'node:timers/promises';
import type { Addresses, CarryOut, Gate, GatePort, GateTunnel, Marks, TrafficCounters } from '../core/ports.js';
import { formatNet, type Net } from '../core/prefix.js';
import { GateChanges } from './changes.js';
import { Installed, type Current } from './current.js';
import type { Firewall } from './firewall.js';
import { Learners, type Waiting } from './learner.js';
import { learnable, learnedPart, withLearned } from './learned.js';
import { planOf, type Plan } from './plan.js';
import { countsAll, hasDomains, routesIntoDevice } from './planned-tunnel.js';
import type { FoundRouting } from './routes.js';
import { keptOf, type Routing } from './routing.js';
import { SelfRepair } from './self-repair.js';
import type { StartWatch } from './watch.js';

/** For some turns of the event loop. */
const settlingMs = 3;

export interface GateParts {
  /** Chosen once; may look around for it. */
  readonly firewall: () => Promise<Firewall>;
  /** The other backends, which an earlier run may have used. */
  readonly otherFirewalls: () => Promise<readonly Firewall[]>;
  readonly routing: Routing;
  /** Undefined: what somebody takes away stays away until the next install. */
  readonly startWatch: (() => Promise<StartWatch>) | undefined;
  /** The file of the network namespace that all this is in, if it is not this process's own. */
  readonly netns: string | undefined;
  /** Packets sent by the devices of the default routes, these left out. */
  readonly sent: (devices: ReadonlySet<string>) => number;
  readonly marks: Marks;
  readonly closingTable: number;
  /** Addresses of domains, in all tunnels together. */
  readonly mostLearned: number;
  readonly guardForward: boolean;
  /** Resolves when nobody else has anything to do, or has had some time for it. */
  readonly othersFirst: () => Promise<void>;
  readonly warn: (event: string, message: string) => void;
}

/** The gate: a firewall and the routes that go with it, one change after the other. */
export class NetfilterGate implements GatePort {
  readonly #parts: GateParts;
  #plan: Plan | undefined;
  readonly #installed = new Installed();
  readonly #changes: GateChanges;
  #last: Promise<unknown> = Promise.resolve();
  /** An install over an earlier one has failed: what the kernel has is not known. */
  #unclear = false;
  /** A repair has closed all gates, and has not brought them back yet. */
  #closedByMend = false;
  #counting: Promise<ReadonlyMap<string, TrafficCounters>> | undefined;
  readonly #repair: SelfRepair;
  readonly #learners: Learners;
  #toldOfMost = false;
  readonly events$;

  constructor(parts: GateParts) {
    this.#parts = parts;
    this.#changes = new GateChanges({ firewall: parts.firewall, routing: parts.routing, installed: this.#installed });
    this.#repair = new SelfRepair({
      inTurn: (change) => this.#inTurn(change),
      intact: () => this.#intact(),
      mend: () => this.#mend(),
      exposed: () => this.#installed.exposed().map(({ planned }) => planned.tunnel.name),
      // Without default routes among ours nothing of it is asked: reading them may take long.
      sent: () => (this.#installed.hasDefaults() ? parts.sent(new Set(this.#installed.all().map(({ planned }) => planned.tunnel.device))) : 0),
      startWatch: parts.startWatch,
    });
    this.events$ = this.#repair.events$;
    const { marks, netns, warn } = parts;
    this.#learners = new Learners({ marks, netns, warn, learn: (...args) => this.#inTurn(() => this.#learn(...args)) });
  }

  install(tunnels: readonly GateTunnel[], gateOf: (tunnel: string) => Gate | undefined = () => 'hold'): Promise<void> {
    return this.#inTurn(() => this.#install(tunnels, gateOf));
  }

  async set(tunnel: string, gate: Gate, carryOut?: CarryOut): Promise<void> {
    await this.#inTurn(async () => {
      // Packets of others that still wait are in more haste than those that pass through us until this gate is open. Within
      // the turn: a gate that is to be closed next must not be closed before.
      if (gate === 'open') await this.#parts.othersFirst();
      if (this.#unclear) await this.#repair.check();
      // What is to be closed is not opened again by a repair, even if closing it fails.
      if (gate === 'hold' || gate === 'reject') this.#installed.of(tunnel).wanted = gate;
      try {
        await this.#changes.set(this.#installed.of(tunnel), gate, carryOut);
      } catch (error) {
        // Has somebody taken away what was to be changed?
        if (!(await this.#repair.check())) throw error;
        await this.#changes.set(this.#installed.of(tunnel), gate, carryOut);
      }
    });
    this.#repair.acted();
    // What was on its way into the queue just then gets its verdict, too, before anything else is done.
    if (gate === 'open') await sleep(settlingMs);
  }

  expect(tunnel: string, gate: Gate): void {
    void this.#inTurn(async () => {
      const current = this.#installed.get(tunnel);
      if (current !== undefined) await this.#changes.expect(current, gate);
    });
  }

  async catchFirst(tunnel: string, on: boolean): Promise<void> {
    // A release waits for this, and the turn may be another tunnel's for as long as its programs take.
    if (this.#installed.of(tunnel).catchFirst === on) return;
    await this.#inTurn(() => this.#changes.catchFirst(this.#installed.of(tunnel), on));
  }

  async route(tunnel: string): Promise<void> {
    // Most tunnels have none to be made, and a release waits for this.
    if (!this.#installed.of(tunnel).makesRoutes) {
      this.#installed.of(tunnel).routed = true;
      return;
    }
    await this.#inTurn(() => this.#changes.enterDevice(this.#installed.of(tunnel)));
  }

  keepAddresses(tunnel: string, addresses: Addresses): Promise<void> {
    return this.#inTurn(() => this.#changes.keepAddresses(this.#installed.of(tunnel), addresses));
  }

  routes(tunnel: string): readonly string[] {
    return routesIntoDevice(this.#installed.of(tunnel).planned).byLink.map(formatNet);
  }

  unlearned(tunnel: string): number {
    return this.#learners.dropped(tunnel);
  }

  counters(): Promise<ReadonlyMap<string, TrafficCounters>> {
    this.#repair.acted();
    // One reading serves all who ask before it begins: of a hundred tunnels that are up, each asks.
    return (this.#counting ??= this.#inTurn(async () => {
      this.#counting = undefined;
      return this.#plan === undefined ? new Map<string, TrafficCounters>() : (await this.#firewall()).counters(this.#plan);
    }));
  }

  look(): void {
    this.#repair.acted();
  }

  mendRoutes(): Promise<void> {
    return this.#inTurn(async () => {
      const tunnels = this.#installed.all().map(({ planned, addresses, uncaught }) => ({ tunnel: planned, addresses, catching: !uncaught }));
      const missing = await this.#parts.routing.mend(tunnels);
      if (missing > 0) this.#parts.warn('gate.routes_mended', `somebody removed ${missing} catch routes: they are back`);
    });
  }

  held(): void {
    this.#repair.stood();
  }

  remove({ keepDomains = false }: { readonly keepDomains?: boolean } = {}): Promise<readonly string[]> {
    return this.#inTurn(async () => {
      this.#plan = undefined;
      this.#repair.stop();
      this.#installed.replace(new Map());
      const removed = await this.#removeAll(keepDomains);
      await this.#learners.close();
      return removed;
    });
  }

  async #install(tunnels: readonly GateTunnel[], gateOf: (tunnel: string) => Gate | undefined): Promise<void> {
    const { routing, marks, closingTable, guardForward } = this.#parts;
    // The device of a tunnel that is about to end is still there, and its network is nobody's LAN.
    const devices = new Set([...tunnels, ...this.#installed.all().map(({ planned }) => planned.tunnel)].map(({ device }) => device));
    const [lans, found] = await Promise.all([routing.lans(devices), routing.found()]);
    const plan = planOf(tunnels, { marks, lans, closingTable, guardForward });
    await this.#learners.open(plan);
    try {
      await this.#bring(plan, found, gateOf);
    } catch (error) {
      if (this.#plan === undefined) await this.#learners.close();
      throw error;
    }
    await this.#learners.keep(plan);
    this.#toldOfMost = false;
    await this.#repair.start();
  }

  /** The firewall and the routes to the plan. */
  async #bring(plan: Plan, found: FoundRouting, gateOf: (tunnel: string) => Gate | undefined): Promise<void> {
    const { routing } = this.#parts;
    const firewall = await this.#firewall();
    const again = this.#plan !== undefined;
    const staying = this.#installed.staying(plan, gateOf);
    this.#unclear = again;
    for (const current of this.#installed.all()) current.gate = undefined;
    // Both take long with many prefixes. The first routes can't open anything: for a moment packets end on `lo` that nothing would have stopped before.
    const early = again || found.routes.length > 0 ? undefined : routing.install(plan, found, { addresses: undefined, bypassed: new Set(), catchFirst: new Set() });
    const whenEarly = early?.catch(() => undefined); // it may fail before anybody waits for it
    const { tookOver, gates } = await firewall.install(plan, (id) => staying.get(id)).catch(async (error: unknown) => {
      await whenEarly;
      if (early !== undefined) await this.#removeRoutes().catch(() => undefined);
      throw error;
    });
    try {
      const from = gates === 'kept' ? staying : new Map<string, Gate>();
      const kept = await (early ?? routing.install(plan, found, {
        addresses: again ? new Map(this.#installed.all().map(({ planned, addresses }) => [planned.tunnel.name, addresses])) : undefined,
        bypassed: new Set(plan.tunnels.filter(({ id }) => from.get(id) === 'bypass').map(({ tunnel: { name } }) => name)),
        catchFirst: new Set(plan.tunnels.flatMap(({ tunnel: { name }, closingTable }) => {
          const before = this.#installed.get(name);
          return before?.catchFirst === true && before.planned.closingTable === closingTable ? [name] : [];
        })),
      }));
      for (const other of await this.#parts.otherFirewalls()) await other.remove(() => Promise.resolve([]), false);
      await this.#take(plan, kept, from, gateOf);
    } catch (error) {
      // what an earlier run guards stays guarded, and what an earlier install does is repaired; else nothing of a failed start remains
      if (!tookOver && !again) await this.#removeAll(true).catch(() => undefined);
      throw error;
    }
    if (tookOver && !again) this.#parts.warn('gate.taken_over', 'an earlier run left its guard behind: taken over without an open moment');
    this.#plan = plan;
    this.#unclear = this.#closedByMend = false;
  }

  /** The gates of a plan that was just installed: from where they are, or `hold`, to where they shall be. */
  async #take(plan: Plan, kept: ReadonlyMap<string, Addresses>, from: ReadonlyMap<string, Gate>, gateOf: (tunnel: string) => Gate | undefined): Promise<void> {
    const firewall = await this.#firewall();
    const next = new Map(plan.tunnels.map((planned): [string, Current] => [planned.tunnel.name, { planned, gate: 'hold', wanted: 'hold', catchFirst: false, routed: false, uncaught: from.get(planned.id) === 'bypass', addresses: kept.get(planned.tunnel.name) ?? {}, makesRoutes: hasDomains(planned) || routesIntoDevice(planned).byGate.length > 0 }]));
    for (const [name, current] of next) {
      const before = this.#installed.get(name);
      current.routed = before?.routed === true;
      if (keptOf(current.addresses).length > 0) await firewall.keepAddresses(current.planned, keptOf(current.addresses));
      if (current.routed) await this.#changes.enterDevice(current);
      await this.#changes.switch(current, from.get(current.planned.id) ?? 'hold', gateOf(name) ?? before?.wanted ?? 'hold');
      if (before?.catchFirst === true) await this.#changes.catchFirst(current, true);
    }
    // a device may have come meanwhile
    for (;;) {
      const late = [...next].find(([name, { routed }]) => !routed && this.#installed.get(name)?.routed === true)?.[1];
      if (late === undefined) break;
      await this.#changes.enterDevice(late);
    }
    const closed = [...next].flatMap(([name, current]) => (this.#installed.get(name)?.wanted === 'open' && current.wanted !== 'open' ? [current] : []));
    this.#installed.replace(next);
    for (const current of closed) await this.#changes.leaveDevice(current);
  }

  async #intact(): Promise<boolean> {
    if (this.#plan === undefined) return true;
    const gates = new Map(this.#installed.all().map(({ planned: { id }, gate }) => [id, gate]));
    return !this.#unclear && (await (await this.#firewall()).intact(this.#plan, (id) => gates.get(id))) && !this.#closedByMend;
  }

  /** Brings back what somebody else took away, every gate where it was. */
  async #mend(): Promise<void> {
    if (this.#plan === undefined) return;
    if (this.#unclear) {
      await this.#install(this.#plan.tunnels.map(({ tunnel }) => tunnel), (name) => this.#installed.of(name).wanted);
      return;
    }
    // routes and addresses are not the firewall's: nothing has touched them
    const firewall = await this.#firewall();
    if ((await firewall.mend(this.#plan)) === 'closed') {
      this.#closedByMend = true;
      for (const current of this.#installed.all()) current.gate = undefined;
    }
    for (const current of this.#closedByMend ? this.#installed.all() : []) {
      const { planned, addresses, wanted, gate } = current;
      if (gate !== undefined) continue; // an attempt before this one has brought it back
      if (keptOf(addresses).length > 0) await firewall.keepAddresses(planned, keptOf(addresses));
      if (wanted !== 'hold') await firewall.switchGate(planned, 'hold', wanted);
      if (current.uncaught && wanted !== 'bypass') await this.#changes.closeRoutes(current);
      current.gate = wanted;
    }
    this.#closedByMend = false;
  }

  async #removeRoutes(): Promise<readonly string[]> {
    const { routing } = this.#parts;
    return routing.remove(await routing.found());
  }

  async #removeAll(keepDomains: boolean): Promise<readonly string[]> {
    const firewalls = [await this.#firewall(), ...(await this.#parts.otherFirewalls())];
    return firewalls.reduce<() => Promise<readonly string[]>>((inner, firewall) => () => firewall.remove(inner, keepDomains), () => this.#removeRoutes())();
  }

  /** What dnsmasq added becomes the tunnel's: its routes first, and then it joins the sets. */
  async #learn(tunnel: string, addresses: readonly Net[], waiting: Waiting): Promise<void> {
    const [plan, current] = [this.#plan, this.#installed.get(tunnel)];
    if (plan === undefined || current === undefined) return;
    const { planned, gate = current.wanted, routed } = current;
    const { all, fresh, tooMany } = learnable(plan, planned, addresses, this.#parts.mostLearned);
    if (tooMany) this.#tellOfMost();
    if (all.length === 0) return;
    const firewall = await this.#firewall();
    await this.#parts.routing.learn(learnedPart(planned, all), current.addresses, { catching: gate !== 'bypass', routed });
    await firewall.addOwn(planned.id, all);
    // What waits goes before the rules know the address: what passes directly from then on overtakes nothing. Where rules have to be
    // asked what becomes of it, some may.
    const early = gate === 'open' ? 'accept' : gate === 'hold' && countsAll(planned) ? 'queue' : undefined;
    if (early !== undefined) waiting.pass(all, early);
    await firewall.addAny(all, waiting.carryOut);
    if (early === undefined) waiting.pass(all, 'repeat');
    this.#plan = withLearned(plan, learnedPart(planned, fresh));
    current.planned = this.#plan.tunnels.find(({ id }) => id === planned.id) ?? planned;
  }

  #tellOfMost(): void {
    if (this.#toldOfMost) return;
    this.#toldOfMost = true;
    const { warn, mostLearned } = this.#parts;
    warn('domains.too_many', `domains stand for more than ${mostLearned} addresses: packets to others are dropped until the next reload`);
  }

  #firewall(): Promise<Firewall> {
    return this.#parts.firewall();
  }

  /**
   * Changes never overlap, and one that failed does not stop the next. Between two of them everybody else gets a turn: a
   * release waits for one gate to open, not for a hundred.
   */
  #inTurn<Result>(change: () => Promise<Result>): Promise<Result> {
    const result = this.#last.then(change);
    this.#last = result.catch(() => undefined).then(() => setImmediate());
    return result;
  }
}
