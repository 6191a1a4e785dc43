import { DaemonError } from '../core/errors.js';
import type { Addresses, CarryOut, Gate } from '../core/ports.js';
import { hasRules, type Current, type Installed } from './current.js';
import type { Firewall } from './firewall.js';
import { routesIntoDevice } from './planned-tunnel.js';
import { keptOf, type Routing } from './routing.js';

export interface GateChangesParts {
  readonly firewall: () => Promise<Firewall>;
  readonly routing: Routing;
  readonly installed: Installed;
}

/** Changes of one tunnel's gate, with the routes that go with each. One after the other: that is the caller's business. */
export class GateChanges {
  readonly #parts: GateChangesParts;

  constructor(parts: GateChangesParts) {
    this.#parts = parts;
  }

  /** What takes time is done ahead, if the gate is where it can be switched from. */
  async expect(current: Current, gate: Gate): Promise<void> {
    const firewall = await this.#parts.firewall();
    if (current.gate === undefined || !hasRules(current) || current.gate === gate || current.expected?.to === gate) return;
    current.expected?.change.cancel();
    const change = firewall.prepareSwitch?.(current.planned, current.gate, gate);
    current.expected = change && { from: current.gate, to: gate, change };
  }

  /** From wherever the gate is. Rejects with FIREWALL_FAILED if that can't be told. */
  async set(current: Current, gate: Gate, carryOut: CarryOut | undefined): Promise<void> {
    const from = current.gate ?? (hasRules(current) ? await (await this.#parts.firewall()).readGate(current.planned) : current.wanted);
    if (from === undefined) throw new DaemonError('FIREWALL_FAILED', `the gate of ${current.planned.tunnel.name} is in no known state`, { hint: 'has something else changed our sets? a restart installs them anew' });
    await this.switch(current, from, gate, carryOut);
  }

  /** The gate and the routes that go with it, in the order in which nothing gets past. */
  async switch(current: Current, from: Gate, gate: Gate, carryOut?: CarryOut): Promise<void> {
    current.gate = undefined;
    if (from !== gate) {
      if (gate === 'bypass') await this.#openRoutes(current);
      try {
        await this.#change(current, from, gate, carryOut);
      } catch (error) {
        if (gate === 'bypass') await this.closeRoutes(current).catch(() => undefined);
        throw error;
      }
    } else {
      current.expected?.change.cancel();
      current.expected = undefined;
    }
    // Should that fail, the gate is closed all the same.
    if (current.uncaught && gate !== 'bypass') await this.closeRoutes(current);
    current.gate = current.wanted = gate;
    if (from !== gate && (gate === 'hold' || gate === 'reject')) await this.leaveDevice(current);
  }

  /** As GatePort's `route`. */
  async enterDevice(current: Current): Promise<void> {
    await this.#parts.routing.intoDevice(current.planned);
    current.routed = true;
  }

  /** Routes into a device that is still there would lead nowhere, past the catch routes; those of others who share it stay. */
  async leaveDevice(current: Current): Promise<void> {
    if (!current.routed) return;
    current.routed = false;
    if (routesIntoDevice(current.planned).byGate.length === 0) return;
    const { device } = current.planned.tunnel;
    await this.#parts.routing.outOfDevice(current.planned);
    for (const other of this.#parts.installed.all()) if (other.routed && other.planned.tunnel.device === device) await this.#parts.routing.intoDevice(other.planned);
  }

  /** By what was prepared for just this change, if it works; anything else that was prepared ends. */
  async #change(current: Current, from: Gate, to: Gate, carryOut: CarryOut | undefined): Promise<void> {
    const { expected, planned } = current;
    current.expected = undefined;
    if (!hasRules(current)) return;
    const firewall = await this.#parts.firewall();
    if (expected?.from === from && expected.to === to) {
      try {
        await expected.change.apply();
        return;
      } catch (error) {
        // it may have ended before its time; has it done its work?
        if ((await firewall.readGate(planned)) !== from) throw error;
      }
    } else {
      expected?.change.cancel();
    }
    await firewall.switchGate(planned, from, to, carryOut);
  }

  /** As GatePort's, but for `bypass`, which has no catch routes. */
  async catchFirst(current: Current, on: boolean): Promise<void> {
    if (current.catchFirst === on || (on && current.gate === 'bypass')) return;
    await this.#parts.routing.catchFirst(current.planned, current.addresses, on);
    current.catchFirst = on;
  }

  /** As GatePort's. Addresses that nobody keeps any more go; if the routes can't have the new ones, the firewall has the old ones again. */
  async keepAddresses(current: Current, addresses: Addresses): Promise<void> {
    const { routing, installed } = this.#parts;
    const { planned, addresses: before } = current;
    const given = keptOf(addresses).filter(({ family }) => planned.families.includes(family));
    const after: Addresses = { ...before, ...Object.fromEntries(given.map(({ family, address }) => [family === 4 ? 'ipv4' : 'ipv6', address])) };
    if (after.ipv4 === before.ipv4 && after.ipv6 === before.ipv6) return;
    const elsewhere = installed.all().filter((other) => other !== current).flatMap((other) => keptOf(other.addresses));
    const inUse = new Set([...keptOf(after), ...elsewhere].map(({ address }) => address));
    const unused = keptOf(before).filter(({ address }) => !inUse.has(address));
    const firewall = await this.#parts.firewall();
    await firewall.keepAddresses(planned, keptOf(after));
    await routing.keep(planned, after, { catching: current.gate !== 'bypass', unused }).catch(async (error: unknown) => {
      await firewall.keepAddresses(planned, keptOf(before)).catch(() => undefined);
      throw error;
    });
    current.addresses = after;
  }

  /** Under `bypass` packets take whatever route there is without us. */
  async #openRoutes(current: Current): Promise<void> {
    await this.catchFirst(current, false);
    current.routed = false;
    current.uncaught = true;
    await this.#parts.routing.catching(current.planned, current.addresses, false);
  }

  /** The catch routes are back. */
  async closeRoutes(current: Current): Promise<void> {
    await this.#parts.routing.catching(current.planned, current.addresses, true);
    current.uncaught = false;
  }
}
