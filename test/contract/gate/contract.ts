import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import type { Gate, GatePort, GateTunnel } from '../../../src/core/ports.js';
import { failureOf, tunnelOf } from './router-lab.js';

export type Sender = 'lan' | 'router';

/** A gate in its surroundings: LAN 10.77.1.0/24, underlay 198.51.100.0/24, a default route, a device that plays the tunnel. */
export interface World {
  readonly gate: GatePort;
  /** Of a UDP packet to port 9; the LAN's come in by `lan0`. */
  where(from: Sender, to: string): Promise<'held' | 'tunnel' | 'underlay' | 'nowhere'>;
  /** What a TCP connect to port 9 sees. */
  connect(from: Sender, to: string): Promise<'refused' | 'silence'>;
  /** As if dnsmasq had found that a domain of the tunnel stands for that address. */
  resolve(tunnel: GateTunnel, address: string): Promise<void>;
  linkUp(tunnel: GateTunnel): Promise<void>;
  linkDown(tunnel: GateTunnel): Promise<void>;
  dispose(): Promise<void>;
}

const office = tunnelOf();
const [host4, host6] = ['10.99.3.1', 'fd00:99::3:1'];
const senders: readonly Sender[] = ['lan', 'router'];
const everyone = senders.flatMap((from) => [host4, host6].map((to) => ({ from, to })));

/** What every gate does, the fake included. */
export function gateContract(name: string, create: () => Promise<World>): void {
  describe(`gate: ${name}`, () => {
    let world: World;
    beforeAll(async () => {
      world = await create();
    });
    afterAll(() => world.dispose());
    afterEach(() => world.gate.remove());

    const installed = async (gate: Gate, overrides: Partial<GateTunnel> = {}): Promise<void> => {
      await world.gate.install([{ ...office, ...overrides }]);
      await world.gate.set('office', gate);
    };

    it('is closed after install, and holds what is protected, from the LAN and local', async () => {
      await world.gate.install([office]);
      for (const { from, to } of everyone) expect({ from, to, went: await world.where(from, to) }).toEqual({ from, to, went: 'held' });
      expect(await world.where('lan', '198.51.100.77')).toBe('underlay');
    });

    it('opens into the tunnel device, and nowhere else', async () => {
      await installed('open');
      for (const { from, to } of everyone) expect({ from, to, went: await world.where(from, to) }).toEqual({ from, to, went: 'nowhere' });
      await world.linkUp(office);
      for (const { from, to } of everyone) expect({ from, to, went: await world.where(from, to) }).toEqual({ from, to, went: 'tunnel' });
      await world.linkDown(office);
      for (const { from, to } of everyone) expect({ from, to, went: await world.where(from, to) }).toEqual({ from, to, went: 'nowhere' });
    });

    it('answers under reject, and is silent with onFailure: drop', async () => {
      await installed('reject');
      for (const { from, to } of everyone) expect({ from, to, saw: await world.connect(from, to) }).toEqual({ from, to, saw: 'refused' });
      await installed('reject', { onFailure: 'drop' });
      expect(await world.connect('lan', host4)).toBe('silence');
      expect(await world.connect('lan', host6)).toBe('silence');
    });

    it('drops without a word what is ignored, while it holds and while it refuses, and lets it pass while open', async () => {
      const ignore = [{ protocol: 'udp', ports: { first: 8, last: 9 } }, { protocol: 'tcp', ports: { first: 9, last: 9 }, to: '10.99.3.0/24' }] as const;
      await world.gate.install([{ ...office, ignore }]);
      for (const { from, to } of everyone) expect({ from, to, went: await world.where(from, to) }).toEqual({ from, to, went: 'nowhere' });
      await world.gate.set('office', 'reject');
      for (const from of senders) expect([await world.connect(from, host4), await world.connect(from, '10.99.4.1'), await world.connect(from, host6)]).toEqual(['silence', 'refused', 'refused']);
      await world.gate.set('office', 'open');
      await world.linkUp(office);
      for (const { from, to } of everyone) expect({ from, to, went: await world.where(from, to) }).toEqual({ from, to, went: 'tunnel' });
      await world.linkDown(office);
      await world.gate.set('office', 'bypass');
      for (const { from, to } of everyone) expect({ from, to, went: await world.where(from, to) }).toEqual({ from, to, went: 'underlay' });
    });

    it('ignores nothing but that', async () => {
      await world.gate.install([{ ...office, ignore: [{ protocol: 'udp', ports: { first: 10, last: 65535 } }, { protocol: 'tcp' }, { protocol: 'icmp' }, { protocol: 'udp', to: '10.99.4.0/24' }] }]);
      for (const { from, to } of everyone) expect({ from, to, went: await world.where(from, to) }).toEqual({ from, to, went: 'held' });
      expect([await world.where('lan', '10.99.4.9'), await world.connect('lan', host6)]).toEqual(['nowhere', 'silence']);
    });

    it.each(['forwarded', 'local'] as const)('holds what is %s and refuses the rest, with wake', async (wake) => {
      const [wakes, other] = wake === 'forwarded' ? (['lan', 'router'] as const) : (['router', 'lan'] as const);
      await world.gate.install([{ ...office, wake }]);
      for (const to of [host4, host6]) expect([await world.where(wakes, to), await world.where(other, to), await world.connect(other, to)]).toEqual(['held', 'nowhere', 'refused']);
      await world.gate.set('office', 'open');
      await world.linkUp(office);
      for (const { from, to } of everyone) expect({ from, to, went: await world.where(from, to) }).toEqual({ from, to, went: 'tunnel' });
      await world.linkDown(office);
      await installed('hold', { wake, onFailure: 'drop' });
      for (const to of [host4, host6]) expect([await world.where(wakes, to), await world.where(other, to), await world.connect(other, to)]).toEqual(['held', 'nowhere', 'silence']);
    });

    it('holds what comes in by the devices of wakeFrom, and refuses the rest of what is forwarded', async () => {
      for (const wakeFrom of [['eth7', 'lan0'], ['lan*']]) {
        await world.gate.install([{ ...office, wakeFrom }]);
        for (const { from, to } of everyone) expect({ from, to, went: await world.where(from, to) }).toEqual({ from, to, went: 'held' });
      }
      await world.gate.install([{ ...office, wakeFrom: ['lan1', 'br-*'], ignore: [{ protocol: 'udp', to: '10.99.4.0/24' }] }]);
      for (const to of [host4, host6]) expect([await world.where('lan', to), await world.connect('lan', to), await world.where('router', to)]).toEqual(['nowhere', 'refused', 'held']);
      expect(await world.where('router', '10.99.4.9')).toBe('nowhere');
    });

    it('lets everything go its way under bypass, and takes it back', async () => {
      await installed('bypass');
      for (const { from, to } of everyone) expect({ from, to, went: await world.where(from, to) }).toEqual({ from, to, went: 'underlay' });
      await world.gate.set('office', 'hold');
      for (const { from, to } of everyone) expect({ from, to, went: await world.where(from, to) }).toEqual({ from, to, went: 'held' });
    });

    it('goes from any gate to any other, and from one to itself', async () => {
      await world.gate.install([office]);
      // every pair comes once
      const way: readonly Gate[] = ['hold', 'hold', 'open', 'hold', 'reject', 'hold', 'bypass', 'open', 'open', 'reject', 'open', 'bypass', 'reject', 'reject', 'bypass', 'bypass', 'hold'];
      const expected = { hold: 'held', open: 'nowhere', reject: 'nowhere', bypass: 'underlay' };
      for (const [index, gate] of way.entries()) {
        await world.gate.set('office', gate);
        expect({ index, gate, went: await world.where('lan', host4) }).toEqual({ index, gate, went: expected[gate] });
      }
    });

    it('makes a change that was expected, and one that was not', async () => {
      await world.gate.install([office]);
      world.gate.expect('office', 'open');
      world.gate.expect('office', 'open');
      await world.gate.set('office', 'open');
      expect(await world.where('lan', host4)).toBe('nowhere');
      world.gate.expect('office', 'reject');
      await world.gate.set('office', 'hold');
      expect(await world.where('lan', host4)).toBe('held');
      world.gate.expect('office', 'open');
      world.gate.expect('office', 'bypass');
      await world.gate.set('office', 'bypass');
      expect(await world.where('lan', host4)).toBe('underlay');
    });

    it('leaves gates where they are when it is installed anew for other tunnels', async () => {
      await installed('open');
      await world.linkUp(office);
      await world.gate.catchFirst('office', true);
      await world.gate.install([tunnelOf({ name: 'lab', device: 'ovpn-lab', queue: 12, protect: ['10.98.0.0/16'] }), office], (name) => (name === 'office' ? 'open' : 'hold'));
      expect([await world.where('lan', host4), await world.where('router', host4), await world.where('lan', '10.98.0.1')]).toEqual(['tunnel', 'nowhere', 'held']);
      await world.linkDown(office);
    });

    it('leaves a gate where it is if an install says nothing of it', async () => {
      await installed('open');
      await world.linkUp(office);
      await world.gate.install([tunnelOf({ name: 'lab', device: 'ovpn-lab', queue: 12, protect: ['10.98.0.0/16'] }), office], () => undefined);
      expect([await world.where('lan', host4), await world.where('lan', '10.98.0.1')]).toEqual(['tunnel', 'held']);
      await world.linkDown(office);
    });

    it('knows a tunnel that protects nothing yet, through all of its gates', async () => {
      await world.gate.install([tunnelOf({ protect: [] })]);
      for (const gate of ['open', 'reject', 'bypass', 'hold'] as const) {
        await world.gate.set('office', gate);
        expect({ gate, went: await world.where('lan', host4) }).toEqual({ gate, went: 'underlay' });
      }
      expect(world.gate.routes('office')).toEqual([]);
      await world.gate.route('office');
      expect((await world.gate.counters()).get('office')).toEqual({ out: 0, in: 0 });
      await world.gate.install([office], () => undefined);
      for (const { from, to } of everyone) expect({ from, to, went: await world.where(from, to) }).toEqual({ from, to, went: 'held' });
    });

    it('catches local packets first on demand, and forwarded ones never', async () => {
      await installed('open');
      await world.linkUp(office);
      await world.gate.catchFirst('office', true);
      await world.gate.catchFirst('office', true);
      expect([await world.where('router', host4), await world.where('router', host6)]).toEqual(['nowhere', 'nowhere']);
      expect([await world.where('lan', host4), await world.where('lan', host6)]).toEqual(['tunnel', 'tunnel']);
      await world.gate.catchFirst('office', false);
      expect([await world.where('router', host4), await world.where('router', host6)]).toEqual(['tunnel', 'tunnel']);
      await world.linkDown(office);
    });

    it('forgets catchFirst under bypass', async () => {
      await installed('open');
      await world.gate.catchFirst('office', true);
      await world.gate.set('office', 'bypass');
      await world.gate.catchFirst('office', true);
      expect(await world.where('router', host4)).toBe('underlay');
    });

    it('leaves alone what is excluded, on a LAN, or a remote for local packets', async () => {
      await world.gate.install([tunnelOf({ protect: ['10.0.0.0/8', '198.51.0.0/16', 'fd00::/8'], exclude: ['10.50.0.0/16', 'fd00:50::/32'], remotes: ['198.51.3.3'] })]);
      expect(await world.where('lan', host4)).toBe('held');
      for (const from of senders) expect([await world.where(from, '10.50.0.1'), await world.where(from, 'fd00:50::1')]).toEqual(['underlay', 'underlay']);
      expect(await world.where('lan', '198.51.100.2')).toBe('underlay');
      expect(await world.where('router', '198.51.3.3')).toBe('underlay');
      expect(await world.where('lan', '198.51.3.3')).toBe('held');
      expect(await world.where('router', '198.51.3.4')).toBe('held');
    });

    it('gives nested prefixes to the tunnel with the longer one', async () => {
      const wide = tunnelOf({ protect: ['10.0.0.0/8'] });
      const narrow = tunnelOf({ name: 'lab', device: 'ovpn-lab', queue: 12, protect: ['10.99.0.0/16'], exclude: ['10.99.7.0/24'] });
      await world.gate.install([wide, narrow]);
      await world.gate.set('lab', 'bypass');
      expect([await world.where('lan', '10.99.3.1'), await world.where('lan', '10.98.3.1'), await world.where('lan', '10.99.7.1')]).toEqual(['underlay', 'held', 'held']);
      expect([await world.where('router', '10.99.3.1'), await world.where('router', '10.98.3.1'), await world.where('router', '10.99.7.1')]).toEqual(['underlay', 'held', 'held']);
      await world.gate.set('lab', 'hold');
      await world.gate.set('office', 'bypass');
      expect([await world.where('lan', '10.99.3.1'), await world.where('lan', '10.98.3.1'), await world.where('lan', '10.99.7.1')]).toEqual(['held', 'underlay', 'underlay']);
      await world.gate.set('office', 'open');
      await world.linkUp(wide);
      expect([await world.where('lan', '10.99.3.1'), await world.where('lan', '10.98.3.1'), await world.where('router', '10.99.7.1')]).toEqual(['held', 'tunnel', 'tunnel']);
      await world.linkDown(wide);
    });

    describe('domains', () => {
      const corp = tunnelOf({ protect: [], domains: ['corp.example'] });
      const [domain4, domain6] = ['203.0.113.7', '2001:db8:7::7'];
      const found = senders.flatMap((from) => [domain4, domain6].map((to) => ({ from, to })));
      const wents = async (): Promise<readonly string[]> => {
        const went = [];
        for (const { from, to } of found) went.push(await world.where(from, to));
        return went;
      };
      const all = (went: string): readonly string[] => found.map(() => went);
      const resolve = async (tunnel: GateTunnel): Promise<void> => {
        for (const to of [domain4, domain6]) await world.resolve(tunnel, to);
      };

      it('are protected as soon as somebody knows what they stand for, through all gates', async () => {
        await world.gate.install([corp]);
        expect(await wents()).toEqual(all('underlay'));
        await resolve(corp);
        for (const [gate, went] of [['hold', 'held'], ['open', 'nowhere'], ['reject', 'nowhere'], ['bypass', 'underlay'], ['hold', 'held']] as const) {
          await world.gate.set('office', gate);
          expect({ gate, went: await wents() }).toEqual({ gate, went: all(went) });
        }
        await world.gate.set('office', 'reject');
        for (const { from, to } of found) expect({ from, to, saw: await world.connect(from, to) }).toEqual({ from, to, saw: 'refused' });
      });

      it.each<Gate>(['open', 'reject', 'bypass'])('are, also what is found while the gate is %s', async (gate) => {
        await world.gate.install([corp, tunnelOf({ name: 'lab', device: 'ovpn-lab', queue: 12, protect: ['10.98.0.0/16'] })]);
        await world.gate.set('office', gate);
        await resolve(corp);
        expect(await wents()).toEqual(all(gate === 'bypass' ? 'underlay' : 'nowhere'));
        expect(await world.where('lan', '10.98.0.1')).toBe('held');
      });

      it('go through the tunnel while it is up: what is known, and what is found then', async () => {
        await world.gate.install([corp]);
        await world.resolve(corp, domain4);
        expect([await world.where('lan', domain4), await world.where('router', domain4)]).toEqual(['held', 'held']);
        await world.resolve(corp, domain6);
        await world.linkUp(corp);
        await world.gate.route('office');
        await world.gate.set('office', 'open');
        const went = await wents();
        await world.gate.catchFirst('office', true);
        const closing = await wents();
        await world.gate.set('office', 'hold');
        await world.linkDown(corp);
        expect([went, closing, await wents()]).toEqual([all('tunnel'), found.map(({ from }) => (from === 'lan' ? 'tunnel' : 'nowhere')), all('held')]);
      });

      it('are asked which packets count, from the first one on', async () => {
        await world.gate.install([{ ...corp, wake: 'forwarded', ignore: [{ protocol: 'udp', ports: { first: 9, last: 9 }, to: '203.0.113.0/24' }] }]);
        await resolve(corp);
        expect([await world.connect('router', domain4), await world.connect('router', domain6)]).toEqual(['refused', 'refused']);
        await world.gate.install([{ ...corp, wake: 'forwarded', ignore: [{ protocol: 'udp', ports: { first: 9, last: 9 }, to: '203.0.113.0/24' }] }]);
        expect(await wents()).toEqual(['nowhere', 'held', 'nowhere', 'nowhere']);
      });

      it('yield to prefixes, and do not open a way to servers', async () => {
        const narrow = tunnelOf({ name: 'lab', device: 'ovpn-lab', queue: 12, protect: ['203.0.113.0/24'], remotes: ['203.0.112.1'] });
        await world.gate.install([corp, narrow]);
        await resolve(corp);
        await world.resolve(corp, '203.0.112.1');
        await world.gate.set('lab', 'bypass');
        expect(await wents()).toEqual(['underlay', 'held', 'underlay', 'held']);
        expect(world.gate.unlearned('office')).toBe(0);
        expect([await world.where('router', '203.0.112.1'), await world.where('lan', '203.0.112.1')]).toEqual(['underlay', 'nowhere']);
        expect(world.gate.unlearned('office')).toBe(1);
      });

      it('still stand for what they stood for after another install, or the next start', async () => {
        await world.gate.install([corp]);
        await resolve(corp);
        expect(await wents()).toEqual(all('held'));
        await world.gate.install([corp, tunnelOf({ name: 'lab', device: 'ovpn-lab', queue: 12, protect: ['10.98.0.0/16'] })], () => undefined);
        expect(await wents()).toEqual(all('held'));
        await world.gate.remove({ keepDomains: true });
        expect(await wents()).toEqual(all('underlay'));
        await world.gate.install([corp]);
        expect(await wents()).toEqual(all('held'));
        await world.gate.remove();
        await world.gate.install([corp]);
        expect(await wents()).toEqual(all('underlay'));
      });
    });

    it('refuses what makes no sense, and changes nothing', async () => {
      await world.gate.install([office]);
      expect((await failureOf(world.gate.set('nobody', 'open'))).code).toBe('TUNNEL_UNKNOWN');
      expect((await failureOf(world.gate.route('nobody'))).code).toBe('TUNNEL_UNKNOWN');
      expect((await failureOf(world.gate.catchFirst('nobody', true))).code).toBe('TUNNEL_UNKNOWN');
      expect(() => world.gate.routes('nobody')).toThrow(expect.objectContaining({ code: 'TUNNEL_UNKNOWN' }));
      expect((await failureOf(world.gate.keepAddresses('nobody', {}))).code).toBe('TUNNEL_UNKNOWN');
      expect((await failureOf(world.gate.keepAddresses('office', { ipv4: 'here' }))).code).toBe('CONFIG_INVALID');
      expect((await failureOf(world.gate.install([office, tunnelOf({ name: 'twin', protect: ['10.99.0.0/16'] })]))).code).toBe('CONFIG_INVALID');
      expect(await world.where('lan', host4)).toBe('held');
    });

    it('counts nothing before there is anything, and says what it removed', async () => {
      expect((await world.gate.counters()).size).toBe(0);
      await world.gate.install([office]);
      expect((await world.gate.counters()).get('office')).toEqual({ out: 0, in: 0 });
      expect((await world.gate.remove()).length).toBeGreaterThan(0);
      expect(await world.gate.remove()).toEqual([]);
      expect((await world.gate.counters()).size).toBe(0);
      expect(await world.where('lan', host4)).toBe('underlay');
    });
  });
}
