import { setTimeout as sleep } from 'node:timers/promises';
import { Subject } from 'rxjs';
import type { Addresses, CarryOut, Gate, GatePort, GateTunnel, Marks, TrafficCounters } from '../core/ports.js';
import { DaemonError, messageOf } from '../core/errors.js';
import type { Firewall, PreparedSwitch } from './firewall.js';
import { planOf, type Plan } from './plan.js';
import type { PlannedTunnel } from './planned-tunnel.js';
import { keptOf, type Routing } from './routing.js';
import type { StartWatch, Watch } from './watch.js';

/** What takes rules away takes many: the look at it waits for the rest. */
const reloadMs = 10;
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
  readonly marks: Marks;
  readonly closingTable: number;
  readonly warn: (event: string, message: string) => void;
}

interface Current {
  readonly planned: PlannedTunnel;
  /** Undefined after a change that failed: then the kernel is asked. */
  gate: Gate | undefined;
  expected?: { readonly from: Gate; readonly to: Gate; readonly change: PreparedSwitch } | undefined;
  catchFirst: boolean;
  addresses: Addresses;
}

/** The gate: a firewall and the routes that go with it, one change after the other. */
export class NetfilterGate implements GatePort {
  readonly #parts: GateParts;
  #plan: Plan | undefined;
  #current = new Map<string, Current>();
  #last: Promise<unknown> = Promise.resolve();
  #watch: Watch | undefined;
  #checkDue = false;
  readonly #repaired = new Subject<void>();
  readonly repaired$ = this.#repaired.asObservable();

  constructor(parts: GateParts) {
    this.#parts = parts;
  }

  install(tunnels: readonly GateTunnel[], gateOf: (tunnel: string) => Gate = () => 'hold'): Promise<void> {
    return this.#inTurn(() => this.#install(tunnels, gateOf));
  }

  async set(tunnel: string, gate: Gate, carryOut?: CarryOut): Promise<void> {
    await this.#inTurn(async () => {
      const current = this.#of(tunnel);
      const firewall = await this.#parts.firewall();
      const from = current.gate ?? (await firewall.readGate(current.planned.id));
      if (from === undefined) throw new DaemonError('FIREWALL_FAILED', `the gate of ${tunnel} is in no known state`, { hint: 'has something else changed our sets? a restart installs them anew' });
      try {
        await this.#switch(firewall, current, from, gate, carryOut);
      } finally {
        if (this.#watch?.listening === false) this.#checkSoon(0);
      }
    });
    // What was on its way into the queue just then gets its verdict, too, before anything else is done.
    if (gate === 'open') await sleep(settlingMs);
  }

  expect(tunnel: string, gate: Gate): void {
    void this.#inTurn(async () => {
      const current = this.#current.get(tunnel);
      const firewall = await this.#parts.firewall();
      if (current?.gate === undefined || current.gate === gate || current.expected?.to === gate) return;
      current.expected?.change.cancel();
      const change = firewall.prepareSwitch?.(current.planned.id, current.gate, gate);
      current.expected = change && { from: current.gate, to: gate, change };
    });
  }

  catchFirst(tunnel: string, on: boolean): Promise<void> {
    return this.#inTurn(() => this.#catchFirst(this.#of(tunnel), on));
  }

  keepAddresses(tunnel: string, addresses: Addresses): Promise<void> {
    return this.#inTurn(async () => {
      const current = this.#of(tunnel);
      const { families } = current.planned;
      const before = current.addresses;
      const given = keptOf(addresses).filter(({ family }) => families.includes(family));
      const after: Addresses = { ...before, ...Object.fromEntries(given.map(({ family, address }) => [family === 4 ? 'ipv4' : 'ipv6', address])) };
      if (after.ipv4 === before.ipv4 && after.ipv6 === before.ipv6) return;
      const elsewhere = [...this.#current].filter(([name]) => name !== tunnel).flatMap(([, other]) => keptOf(other.addresses));
      const inUse = new Set([...keptOf(after), ...elsewhere].map(({ address }) => address));
      const unused = keptOf(before).filter(({ address }) => !inUse.has(address));
      const firewall = await this.#parts.firewall();
      await firewall.keepAddresses(current.planned, keptOf(after));
      await this.#parts.routing.keep(current.planned, after, { catching: current.gate !== 'bypass', unused }).catch(async (error: unknown) => {
        await firewall.keepAddresses(current.planned, keptOf(before)).catch(() => undefined);
        throw error;
      });
      current.addresses = after;
    });
  }

  counters(): Promise<ReadonlyMap<string, TrafficCounters>> {
    return this.#inTurn(async () => (this.#plan === undefined ? new Map() : (await this.#parts.firewall()).counters(this.#plan)));
  }

  remove(): Promise<readonly string[]> {
    return this.#inTurn(async () => {
      this.#plan = undefined;
      this.#watch?.stop();
      this.#watch = undefined;
      this.#forget();
      return this.#removeAll();
    });
  }

  async #install(tunnels: readonly GateTunnel[], gateOf: (tunnel: string) => Gate): Promise<void> {
    const { routing, marks, closingTable } = this.#parts;
    const [lans, found] = await Promise.all([routing.lans(new Set(tunnels.map(({ device }) => device))), routing.found()]);
    const plan = planOf(tunnels, { marks, lans, closingTable });
    const firewall = await this.#parts.firewall();
    const { tookOver } = await firewall.install(plan);
    try {
      const kept = await routing.install(plan, found);
      for (const other of await this.#parts.otherFirewalls()) await other.remove(() => Promise.resolve([]));
      const before = this.#forget();
      this.#current = new Map(plan.tunnels.map((planned) => [planned.tunnel.name, { planned, gate: 'hold', catchFirst: false, addresses: kept.get(planned.tunnel.name) ?? {} }]));
      for (const { planned, addresses } of this.#current.values()) if (keptOf(addresses).length > 0) await firewall.keepAddresses(planned, keptOf(addresses));
      for (const current of this.#current.values()) await this.#switch(firewall, current, 'hold', gateOf(current.planned.tunnel.name));
      for (const [name, { catchFirst }] of before) if (catchFirst && this.#current.has(name)) await this.#catchFirst(this.#of(name), true);
    } catch (error) {
      // what an earlier run guards stays guarded; else nothing of a failed start remains
      if (!tookOver && this.#plan === undefined) await this.#removeAll().catch(() => undefined);
      throw error;
    }
    if (tookOver && this.#plan === undefined) this.#parts.warn('gate.taken_over', 'an earlier run left its guard behind: taken over without an open moment');
    this.#plan = plan;
    if (this.#watch?.listening !== true) this.#watch = (await this.#parts.startWatch?.())?.(() => { this.#checkSoon(reloadMs); });
  }

  /** Looks whether all still stands, once for everything that happens until then. */
  #checkSoon(afterMs: number): void {
    if (this.#checkDue) return;
    this.#checkDue = true;
    void sleep(afterMs, undefined, { ref: false }).then(() => this.#inTurn(() => this.#check())).catch((error: unknown) => {
      this.#parts.warn('gate.repair_failed', `what somebody took away of the firewall could not be brought back: ${messageOf(error)}`);
    });
  }

  async #check(): Promise<void> {
    this.#checkDue = false; // what is taken away from here on is seen by the next look
    const plan = this.#plan;
    const firewall = await this.#parts.firewall();
    if (plan === undefined || (await firewall.intact(plan))) return;
    // routes and addresses are not the firewall's: nothing has touched them
    await firewall.install(plan);
    for (const current of this.#current.values()) {
      const gate = current.gate ?? 'hold';
      current.gate = undefined;
      if (keptOf(current.addresses).length > 0) await firewall.keepAddresses(current.planned, keptOf(current.addresses));
      if (gate !== 'hold') await firewall.switchGate(current.planned.id, 'hold', gate);
      current.gate = gate;
    }
    this.#parts.warn('gate.repaired', 'somebody took rules or sets of ours away (a firewall reloaded or flushed?): all of them stand again');
    this.#repaired.next();
  }

  async #removeAll(): Promise<readonly string[]> {
    const { routing } = this.#parts;
    const routes = async (): Promise<readonly string[]> => routing.remove(await routing.found());
    const firewalls = [await this.#parts.firewall(), ...(await this.#parts.otherFirewalls())];
    return firewalls.reduce<() => Promise<readonly string[]>>((inner, firewall) => () => firewall.remove(inner), routes)();
  }

  async #switch(firewall: Firewall, current: Current, from: Gate, gate: Gate, carryOut?: CarryOut): Promise<void> {
    const { planned, addresses } = current;
    const { routing } = this.#parts;
    current.gate = undefined;
    if (from !== gate) {
      if (gate === 'bypass') await this.#openRoutes(current);
      try {
        await this.#change(firewall, current, from, gate, carryOut);
      } catch (error) {
        if (gate === 'bypass') await routing.catching(planned, addresses, true).catch(() => undefined);
        throw error;
      }
      if (from === 'bypass') {
        await routing.catching(planned, addresses, true).catch(async (error: unknown) => {
          await firewall.switchGate(planned.id, gate, from);
          throw error;
        });
      }
    }
    current.gate = gate;
  }

  /** By what was prepared for just this change, if it works; anything else that was prepared ends. */
  async #change(firewall: Firewall, current: Current, from: Gate, to: Gate, carryOut: CarryOut | undefined): Promise<void> {
    const { expected, planned } = current;
    current.expected = undefined;
    if (expected?.from === from && expected.to === to) {
      try {
        await expected.change.apply();
        return;
      } catch (error) {
        // it may have ended before its time; has it done its work?
        if ((await firewall.readGate(planned.id)) !== from) throw error;
      }
    } else {
      expected?.change.cancel();
    }
    await firewall.switchGate(planned.id, from, to, carryOut);
  }

  /** Returns what is forgotten. */
  #forget(): ReadonlyMap<string, Current> {
    const before = this.#current;
    for (const { expected } of before.values()) expected?.change.cancel();
    this.#current = new Map();
    return before;
  }

  async #catchFirst(current: Current, on: boolean): Promise<void> {
    if (current.catchFirst === on || (on && current.gate === 'bypass')) return;
    await this.#parts.routing.catchFirst(current.planned, current.addresses, on);
    current.catchFirst = on;
  }

  /** Under `bypass` packets take whatever route there is without us. */
  async #openRoutes(current: Current): Promise<void> {
    const { routing } = this.#parts;
    await this.#catchFirst(current, false);
    await routing.catching(current.planned, current.addresses, false);
  }

  #of(tunnel: string): Current {
    const current = this.#current.get(tunnel);
    if (current === undefined) throw new DaemonError('TUNNEL_UNKNOWN', `the gate knows no tunnel "${tunnel}"`, { hint: this.#plan === undefined ? 'nothing is installed' : `there are: ${[...this.#current.keys()].join(', ')}` });
    return current;
  }

  /** Changes never overlap, and one that failed does not stop the next. */
  #inTurn<Result>(change: () => Promise<Result>): Promise<Result> {
    const result = this.#last.then(change);
    this.#last = result.catch(() => undefined);
    return result;
  }
}
