import { spawn } from 'node:child_process';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { filter, firstValueFrom } from 'rxjs';
import type { Gate, GatePort } from '../../../src/core/ports.js';
import type { Backend } from '../../../src/gate/gate.js';
import { loopNexthop } from '../../../src/gate/names.js';
import { until } from '../../lab/wait.js';
import type { Packet } from './agent.js';
import { kernelGate, type KernelGate } from './kernel-gate.js';
import { failureOf, marks, tunnelOf, type RouterLab } from './router-lab.js';

const office = tunnelOf();
const everything = tunnelOf({ protect: ['0.0.0.0/0', '::/0'] });
const [host4, host6] = ['10.99.3.1', 'fd00:99::3:1'];
const hosts = [host4, host6];

/** What only a kernel can show: every backend, by packets. */
export function netfilterContract(backend: Backend): void {
  describe(`gate in the kernel: ${backend}`, () => {
    let lab: RouterLab;
    let gate: GatePort;
    let kernel: KernelGate;
    beforeAll(async () => {
      kernel = await kernelGate(backend);
      ({ lab, gate } = kernel);
    });
    afterAll(() => lab.dispose());
    afterEach(() => kernel.clear());

    const leaks = async (packet: Packet): Promise<readonly string[]> => (await lab.fate('router', packet, 1)).leaked;

    describe('guard', () => {
      it.each<Gate>(['hold', 'open', 'reject'])('drops what is bound for another device under %s', async (state) => {
        await gate.install([office]);
        await gate.set('office', state);
        for (const to of hosts) {
          expect(await leaks({ to, device: 'wan0' })).toEqual([]);
          await lab.release({ accept: true });
        }
        expect((await lab.fate('router', { to: host4 }, 0)).leaked).toEqual([]);
      });

      it('drops what was released while there is no tunnel', async () => {
        await gate.install([office]);
        for (const from of ['lan', 'router'] as const) {
          for (const to of hosts) expect((await lab.fate(from, { to })).held).toBe(1);
        }
        await lab.release({ accept: true, mark: marks.release });
        expect((await lab.fate('router', { to: '198.51.100.2' })).leaked).toEqual(['198.51.100.1 > 198.51.100.2']);
      });
    });

    // where only conditions tell gates apart, all are closed for a moment
    if (backend !== 'condition') {
      it.each<[Gate, 'tunnel' | 'underlay']>([['open', 'tunnel'], ['bypass', 'underlay']])('a tunnel that stays as it is notices nothing of an install: %s', async (state, went) => {
        const strict = { ...office, wake: 'local' } as const;
        await gate.install([strict]);
        await gate.keepAddresses('office', { ipv4: '10.8.0.6', ipv6: 'fd00:8::6' });
        await gate.set('office', state);
        if (state === 'open') await lab.linkUp(office.device, office.protect);
        await Promise.all([lab.agents.far.seen(), lab.agents.underlay.seen()]);
        const other = tunnelOf({ name: 'lab', device: 'ovpn-lab', queue: 12, protect: ['10.98.0.0/16', 'fd00:98::/48'] });
        const done = new AbortController();
        const installs = (async () => {
          for (const tunnels of [[strict, other], [strict], [{ ...strict, protect: [...strict.protect, '10.97.0.0/16'] }, other], [other, strict]]) await gate.install(tunnels, () => undefined);
        })().finally(() => { done.abort(); });
        let sent = 0;
        for (; !done.signal.aborted; sent += 2) for (const to of hosts) await lab.agents.lan.send({ to });
        await installs;
        const arrived = await lab.arrivals(went === 'tunnel' ? 'far' : 'underlay', sent);
        expect({ arrived: arrived.length, held: await lab.held() }).toEqual({ arrived: sent, held: 0 });
        expect(await lab.where('lan', { to: '10.98.0.1' })).toBe('held');
        expect(await lab.router.ip('addr show dev lo')).toContain('10.8.0.6');
        if (state === 'open') await lab.linkDown(office.device);
      });
    }

    describe('release', () => {
      it('routes local packets again, into the tunnel, with the tunnel address', async () => {
        await gate.install([office]);
        await gate.keepAddresses('office', { ipv4: '10.8.0.6', ipv6: 'fd00:8::6' });
        for (const to of hosts) expect((await lab.fate('router', { to, count: 3 })).held).toBe(3);
        await lab.linkUp(office.device, office.protect);
        await gate.set('office', 'open');
        await lab.agents.far.seen();
        await lab.release({ accept: true, mark: marks.release });
        const arrived = await lab.arrivals('far', 6);
        await lab.linkDown(office.device);
        const three = (line: string): readonly string[] => [line, line, line];
        expect(arrived).toEqual([...three(`10.8.0.6 > ${host4}`), ...three(`fd00:8::6 > ${host6}`)]);
      });

      it('routes what names stand for into the tunnel, whatever the link routes, also what is found while it is up', async () => {
        const [name4, name6] = ['192.0.2.7', '2001:db8:7::7'];
        const knows = (...named: readonly string[]) => tunnelOf({ protect: [...office.protect, ...named], named });
        const everywhere = async (): Promise<readonly string[]> => [await lab.where('lan', { to: name4 }), await lab.where('router', { to: name4 }), await lab.where('lan', { to: name6 }), await lab.where('router', { to: name6 })];
        await gate.install([knows(`${name4}/32`)]);
        await lab.linkUp(office.device, office.protect);
        await lab.router.ip(`-6 neigh add ${name6} lladdr 02:00:00:00:00:01 dev ${office.device}`); // a tun has no neighbours
        await gate.route('office');
        await gate.set('office', 'open');
        const before = await everywhere();
        await gate.install([knows(`${name4}/32`, `${name6}/128`)], () => undefined);
        const found = await everywhere();
        await gate.set('office', 'bypass');
        const bypass = await everywhere();
        await gate.set('office', 'hold');
        await gate.route('office');
        await lab.linkDown(office.device);
        await gate.route('office');
        await gate.install([knows(`${name4}/32`, `${name6}/128`)], () => undefined);
        const down = await everywhere();
        expect({ before, found, bypass, down }).toEqual({ before: ['tunnel', 'tunnel', 'underlay', 'underlay'], found: Array(4).fill('tunnel'), bypass: Array(4).fill('underlay'), down: Array(4).fill('held') });
      });

      it('the network of a device whose tunnel is about to end is no LAN', async () => {
        await gate.install([office]);
        await lab.linkUp(office.device, office.protect);
        await gate.set('office', 'open');
        await gate.install([tunnelOf({ name: 'all', device: 'ovpn-all', protect: ['0.0.0.0/0', '::/0'] })]);
        await lab.linkDown(office.device);
        expect([await lab.where('lan', { to: '10.8.0.9' }), await lab.where('lan', { to: 'fd00:8::9' })]).toEqual(['held', 'held']);
      });

      it('an address stays its tunnel\'s, whoever has the prefix now, and whatever became of the routes', async () => {
        const other = tunnelOf({ name: 'lab', device: 'ovpn-lab', queue: 12, protect: ['10.98.0.0/16', 'fd00:98::/48'] });
        await gate.install([office, other]);
        await gate.keepAddresses('office', { ipv4: '10.8.0.6', ipv6: 'fd00:8::6' });
        await lab.router.batch(office.protect.map((prefix) => `route del ${prefix} metric 4000 proto 208`));
        await gate.install([office, other]);
        const sources = async (prefix: string): Promise<boolean> => (await lab.router.ip(`${prefix.includes(':') ? '-6 ' : ''}route show ${prefix} proto 208`)).includes(' src ');
        const back = [await sources('10.99.0.0/16'), await sources('fd00:99::/48')];
        await gate.install([{ ...office, protect: ['10.97.0.0/16'] }, { ...other, protect: office.protect }]);
        expect([...back, await sources('10.99.0.0/16'), await sources('fd00:99::/48'), await sources('10.97.0.0/16')]).toEqual([true, true, false, false, true]);
      });

      it('brings back the catch routes, and what they need, that somebody has removed; not those that a bypass has not', async () => {
        const other = tunnelOf({ name: 'lab', device: 'ovpn-lab', queue: 12, protect: ['10.98.0.0/16', 'fd00:98::/48'] });
        await gate.install([office, other], (name) => (name === 'lab' ? 'bypass' : 'hold'));
        await gate.keepAddresses('office', { ipv4: '10.8.0.6', ipv6: 'fd00:8::6' });
        const before = await lab.state();
        await lab.router.run('sh', ['-ec', `ip -4 route flush table all proto 208; ip nexthop del id ${loopNexthop}; ip addr del 10.8.0.6/32 dev lo; ip -6 addr del fd00:8::6/128 dev lo`]);
        const gone = `${await lab.router.ip('route show table all proto 208')}${await lab.router.ip('-6 route show table all proto 208')}`;
        await gate.mendRoutes();
        expect({ gone, state: await lab.state() }).toEqual({ gone: '', state: before });
      });

      it('an install leaves the routes alone that stand, and brings back those that lead elsewhere', async () => {
        const other = tunnelOf({ name: 'lab', device: 'ovpn-lab', queue: 12, protect: ['10.98.0.0/16', 'fd00:98::/48'] });
        await gate.install([office]);
        await gate.keepAddresses('office', { ipv4: '10.8.0.6', ipv6: 'fd00:8::6' });
        await lab.router.batch(['route replace 10.99.0.0/16 dev wan0 metric 4000 proto 208', 'route replace fd00:99::/48 dev wan0 metric 4000 proto 208']);
        await gate.install([office]);
        const back = await lab.router.ip('route show table all proto 208'); // of both families
        const monitor = spawn('ip', ['netns', 'exec', lab.router.name, 'ip', 'monitor', 'route'], { stdio: ['ignore', 'pipe', 'inherit'] });
        let changed = '';
        monitor.stdout.on('data', (data: Buffer) => { changed += data.toString(); });
        try {
          await until('it listens', async () => {
            await lab.router.batch(['route add 203.0.113.0/24 dev wan0', 'route del 203.0.113.0/24 dev wan0']);
            return changed.includes('203.0.113.0/24');
          }, { everyMs: 50 });
          await gate.install([office, other]);
          await until('what was added is told', () => changed.includes('10.98.0.0/16') && changed.includes('fd00:98::/48'));
        } finally {
          monitor.kill();
        }
        expect({ elsewhere: back.includes('wan0'), sources: back.split('\n').filter((line) => /^(10\.99\.|fd00:99:).* src /.test(line)).length, stand: !/10\.99\.|fd00:99:/.test(changed) }).toEqual({ elsewhere: false, sources: 4, stand: true });
      });

      it('takes its routes out of a device that outlives its link', async () => {
        const many = tunnelOf({ protect: ['10.99.0.0/16', '10.98.0.0/16', 'fd00:99::/48', 'fd00:98::/48'], linkRoutes: 1 });
        await gate.install([many]);
        await lab.linkUp(office.device, []);
        await gate.route('office');
        await gate.set('office', 'open');
        const through = async (): Promise<number> => (await Promise.all(['-4', '-6'].map((family) => lab.router.ip(`${family} route show dev ${office.device} proto 208`)))).join('\n').split('\n').filter((line) => line !== '').length;
        const made = await through();
        await gate.set('office', 'hold');
        const left = [await through(), await lab.router.ip('route get 10.98.1.1')];
        await gate.route('office');
        await gate.install([many]); // as a reload while it opens
        const again = await through();
        await gate.set('office', 'open');
        await gate.install([many], () => 'hold'); // a reload closes it
        const closed = await through();
        await lab.linkDown(office.device);
        expect([made, left[0], again, closed]).toEqual([4, 0, 4, 0]);
        expect(left[1]).toContain('dev lo');
      });

      it('routes around what is not the tunnel\'s where the link only has routes for all of it, and where there are too many for the link', async () => {
        const own: { linkRoutes?: number } & ReturnType<typeof tunnelOf> = tunnelOf({ exclude: ['10.99.7.0/24'] });
        delete own.linkRoutes;
        await gate.install([own]);
        expect(gate.routes('office')).toEqual(['fd00:99::/48']); // as it stands in `protect`
        await lab.linkUp(office.device, office.protect);
        await gate.route('office');
        await gate.set('office', 'open');
        const around = [await lab.where('lan', { to: host4 }), await lab.where('router', { to: host4 }), await lab.where('lan', { to: '10.99.7.1' })];
        const many = tunnelOf({ protect: ['10.99.0.0/16', '10.98.0.0/16'], linkRoutes: 1 });
        await gate.install([many], () => 'open');
        expect(gate.routes('office')).toEqual([]);
        const made = [await lab.where('lan', { to: host4 }), await lab.where('router', { to: '10.98.1.1' })];
        await lab.linkDown(office.device);
        expect({ around, made }).toEqual({ around: ['tunnel', 'tunnel', 'tunnel'], made: ['tunnel', 'tunnel'] });
      });

      it('masquerades local sources only', async () => {
        await gate.install([office]);
        await gate.set('office', 'open');
        await lab.linkUp(office.device, office.protect);
        const local = [(await lab.fate('router', { to: host4, from: '198.51.100.1' })).tunnelled, (await lab.fate('router', { to: host6, from: '2001:db8::1' })).tunnelled];
        // not even on that device, which may be a LAN's, is anything else NATed
        await lab.router.batch(['route add 203.0.113.0/24 via 10.8.0.1', 'route add 2001:db8:5::/64 via fd00:8::1']);
        const other = [(await lab.fate('router', { to: '203.0.113.7', from: '198.51.100.1' })).tunnelled, (await lab.fate('router', { to: '2001:db8:5::7', from: '2001:db8::1' })).tunnelled];
        const forwarded = [(await lab.fate('lan', { to: host4 })).tunnelled, (await lab.fate('lan', { to: host6 })).tunnelled];
        await lab.linkDown(office.device);
        expect(local).toEqual([[`10.8.0.6 > ${host4}`], [`fd00:8::6 > ${host6}`]]);
        expect(other).toEqual([['198.51.100.1 > 203.0.113.7'], ['2001:db8::1 > 2001:db8:5::7']]);
        expect(forwarded).toEqual([[`10.77.1.2 > ${host4}`], [`fd00:77::2 > ${host6}`]]);
      });

      it('does not masquerade the addresses that it keeps', async () => {
        const from = async (...sources: readonly string[]): Promise<readonly string[]> => {
          const arrived: string[] = [];
          for (const source of sources) arrived.push(...(await lab.fate('router', { to: source.includes(':') ? host6 : host4, from: source })).tunnelled);
          return arrived.map((line) => line.split(' ')[0]!);
        };
        await gate.install([office]);
        await gate.set('office', 'open');
        await lab.linkUp(office.device, office.protect); // with 10.8.0.6 and fd00:8::6
        await gate.keepAddresses('office', { ipv4: '10.8.0.7', ipv6: 'fd00:8::7' });
        const kept = await from('10.8.0.7', 'fd00:8::7', '198.51.100.1');
        await gate.keepAddresses('office', { ipv4: '10.8.0.9' });
        await lab.router.ip('addr add 10.8.0.7/32 dev wan0');
        const changed = await from('10.8.0.9', 'fd00:8::7', '10.8.0.7');
        const next = kernel.another();
        await next.install([office], () => 'open');
        const takenOver = await from('10.8.0.9', 'fd00:8::7', '10.8.0.7');
        await lab.router.ip('addr del 10.8.0.7/32 dev wan0');
        await lab.linkDown(office.device);
        expect({ kept, changed, takenOver }).toEqual({ kept: ['10.8.0.7', 'fd00:8::7', '10.8.0.6'], changed: ['10.8.0.9', 'fd00:8::7', '10.8.0.6'], takenOver: ['10.8.0.9', 'fd00:8::7', '10.8.0.6'] });
      });

      it.each([true, false])('answers with the reject mark; default route: %s', async (defaultRoute) => {
        await gate.install([office]);
        if (!defaultRoute) await lab.defaultRoute(false);
        const tcp = (['lan', 'router'] as const).flatMap((from) => hosts.map((to) => lab.agents[from].send({ to, kind: 'tcp', timeout: 2 })));
        // IPv4 datagrams of this host get no error: for a route to `lo` icmp_send() takes the destination as its source
        const udp = [lab.agents.lan.send({ to: host4, answer: true, timeout: 2 }), lab.agents.lan.send({ to: host6, answer: true, timeout: 2 }), lab.agents.router.send({ to: host6, answer: true, timeout: 2 })];
        while ((await lab.held()) < tcp.length + udp.length);
        await lab.release({ accept: true, mark: marks.reject });
        const outcomes = (await Promise.all([...tcp, ...udp])).map(({ outcome }) => outcome);
        if (!defaultRoute) await lab.defaultRoute(true);
        expect(outcomes).toEqual(['ECONNREFUSED', 'ECONNREFUSED', 'ECONNREFUSED', 'ECONNREFUSED', 'EHOSTUNREACH', 'EACCES', 'EACCES']);
      });

      it('keeps what is held when the tunnel device goes, if the catch route comes first', async () => {
        await gate.install([office]);
        await gate.keepAddresses('office', { ipv4: '10.8.0.6', ipv6: 'fd00:8::6' });
        await lab.linkUp(office.device, office.protect);
        await gate.catchFirst('office', true);
        for (const to of hosts) await lab.fate('router', { to, from: to === host4 ? '10.8.0.6' : 'fd00:8::6' });
        await lab.linkDown(office.device);
        await gate.catchFirst('office', false);
        expect(await lab.held()).toBe(2);
        // the address is still there for programs that use it
        expect((await lab.fate('router', { to: host4, from: '10.8.0.6' })).held).toBe(1);
        expect((await lab.fate('router', { to: host6, from: 'fd00:8::6' })).held).toBe(1);
      });
    });

    it('holds local packets without any default route', async () => {
      await gate.install([office]);
      await lab.defaultRoute(false);
      const held = [await lab.where('router', { to: host4 }), await lab.where('router', { to: host6 })];
      await lab.defaultRoute(true);
      expect(held).toEqual(['held', 'held']);
    });

    it('does not wake for errors that this host makes itself, and lets them pass while open', async () => {
      await gate.install([office]);
      for (const to of hosts) expect(await lab.where('router', { to, kind: 'unreachable' })).toBe('nowhere');
      await gate.set('office', 'open');
      await lab.linkUp(office.device, office.protect);
      const open = [await lab.where('router', { to: host4, kind: 'unreachable' }), await lab.where('router', { to: host6, kind: 'unreachable' })];
      await lab.linkDown(office.device);
      expect(open).toEqual(['tunnel', 'tunnel']);
    });

    it('refuses what may not wake, with the errors of the gate reject, and nothing of it goes in clear', async () => {
      await gate.install([{ ...office, wake: 'forwarded', wakeFrom: ['lan7'] }]);
      const outcomes = [];
      for (const to of hosts) outcomes.push((await lab.fate('lan', { to, answer: true }, 0)).outcome, (await lab.fate('router', { to, kind: 'tcp' }, 0)).outcome);
      expect(outcomes).toEqual(['EHOSTUNREACH', 'ECONNREFUSED', 'EACCES', 'ECONNREFUSED']);
      for (const onFailure of ['reject', 'drop'] as const) {
        await gate.install([{ ...office, wake: 'forwarded', wakeFrom: ['lan7'], onFailure }]);
        for (const to of hosts) expect([await leaks({ to, device: 'wan0' }), (await lab.fate('lan', { to })).leaked]).toEqual([[], []]);
      }
      expect(await lab.held()).toBe(0);
    });

    it('does not count what is ignored, by the port that is spoken to, nor the errors that answer it', async () => {
      await gate.install([{ ...office, ignore: [{ protocol: 'udp', ports: { first: 9, last: 9 } }] }]);
      await gate.set('office', 'open');
      await lab.linkUp(office.device, office.protect);
      await lab.far.ip(`addr replace ${host4}/32 dev lo`);
      await lab.far.ip(`addr replace ${host6}/128 dev lo nodad`);
      // what the far end answers to port 10, and the LAN host to port 11, are errors
      for (const [to, back] of [[host4, '10.77.1.2'], [host6, 'fd00:77::2']] as const) {
        await lab.fate('lan', { to, port: 9, count: 3 }, 3);
        await lab.agents.lan.send({ to, port: 10, answer: true });
        for (const sport of [9, 11]) await lab.agents.far.send({ to: back, from: to, sport, port: 11, answer: true });
      }
      const counted = (await gate.counters()).get('office');
      await lab.linkDown(office.device);
      expect(counted).toEqual({ out: 2, in: 2 });
    });

    it('finds a packet\'s device among those of many tunnels', async () => {
      const tunnels = Array.from({ length: 12 }, (_, i) => ({ ...office, name: `t${i}`, device: `ovpn-t${i}`, protect: [`10.99.${i}.0/24`, `fd00:99:${i}::/48`] }));
      await gate.install(tunnels);
      const through = [];
      for (const i of [1, 11]) {
        const [name, device, four, six] = [`t${i}`, `ovpn-t${i}`, `10.99.${i}.1`, `fd00:99:${i}::1`];
        await gate.set(name, 'open');
        await lab.linkUp(device, tunnels[i]?.protect ?? []);
        await lab.far.ip(`addr replace ${four}/32 dev lo`);
        const went = [await lab.where('lan', { to: four }), await lab.where('router', { to: six })];
        await lab.agents.far.send({ to: '10.77.1.2', from: four });
        through.push({ went, in: (await gate.counters()).get(name)?.in });
        await lab.linkDown(device);
      }
      expect(through).toEqual(Array(2).fill({ went: ['tunnel', 'tunnel'], in: 1 }));
    });

    it('counts what goes through the tunnel device, both ways, both families', async () => {
      await gate.install([office]);
      await gate.set('office', 'open');
      await lab.linkUp(office.device, office.protect);
      for (const to of hosts) await lab.fate('lan', { to, count: 4 });
      await lab.fate('lan', { to: '198.51.100.2' });
      await lab.far.ip(`addr replace ${host4}/32 dev lo`);
      await lab.far.ip(`addr replace ${host6}/128 dev lo nodad`);
      for (let i = 0; i < 3; i++) {
        await lab.agents.far.send({ to: '10.77.1.2', from: host4 });
        await lab.agents.far.send({ to: 'fd00:77::2', from: host6 });
        await lab.agents.far.send({ to: '10.77.1.2', from: '10.8.0.1' });
      }
      // the LAN host answers these with ICMP errors, which go out, too
      const counters = (await gate.counters()).get('office');
      await lab.linkDown(office.device);
      expect(counters?.in).toBe(6);
      expect(counters?.out).toBeGreaterThanOrEqual(8);
    });

    describe('domains', () => {
      const corp = tunnelOf({ domains: ['corp.example'] });
      const [domain4, domain6] = ['203.0.113.7', '2001:db8:7::7'];
      const found = [domain4, domain6];
      const iptables = backend.startsWith('iptables') ? backend : 'iptables';
      const opened = async (): Promise<void> => {
        await gate.install([corp]);
        await lab.linkUp(corp.device, corp.protect);
        await lab.noNeighbours(corp.device, found);
        await gate.route('office');
        await gate.set('office', 'open');
      };
      const routesTo = async (address: string): Promise<string> => lab.router.ip(`${address.includes(':') ? '-6' : '-4'} route show ${address} proto 208`);

      it('loses nothing of a burst to an address that is new, whatever the gate', async () => {
        await gate.install([corp]);
        const held = [];
        for (const [from, to] of [['lan', '203.0.113.8'], ['router', '203.0.113.9'], ['lan', '2001:db8:7::8'], ['router', '2001:db8:7::9']] as const) {
          await kernel.resolve('office', to);
          held.push((await lab.fate(from, { to, count: 50 })).held);
        }
        await lab.release({ accept: false });
        await opened();
        const arrived = [];
        for (const from of ['lan', 'router'] as const) {
          for (const to of found) {
            await gate.install([corp], () => undefined); // nothing is learned any more
            await kernel.resolve('office', to);
            arrived.push((await lab.fate(from, { to, count: 50 })).tunnelled);
          }
        }
        await lab.linkDown(corp.device);
        const fifty = (line: string): readonly string[] => Array<string>(50).fill(line);
        expect({ held, arrived }).toEqual({ held: [50, 50, 50, 50], arrived: [fifty(`10.77.1.2 > ${domain4}`), fifty(`fd00:77::2 > ${domain6}`), fifty(`10.8.0.6 > ${domain4}`), fifty(`fd00:8::6 > ${domain6}`)] });
      });

      it('routes what was held on this host again, into the tunnel, and from then on with the tunnel address', async () => {
        await gate.install([corp]);
        await gate.keepAddresses('office', { ipv4: '10.8.0.6', ipv6: 'fd00:8::6' });
        for (const to of found) await kernel.resolve('office', to);
        const first = [];
        for (const to of found) first.push((await lab.fate('router', { to, count: 3 })).source);
        const second = [];
        for (const to of found) second.push((await lab.fate('router', { to })).source);
        await lab.linkUp(corp.device, corp.protect);
        await lab.noNeighbours(corp.device, found);
        await gate.route('office');
        await gate.set('office', 'open');
        await lab.agents.far.seen();
        await lab.release({ accept: true, mark: marks.release });
        const arrived = await lab.arrivals('far', 8);
        await lab.linkDown(corp.device);
        expect({ first, second }).toEqual({ first: ['198.51.100.1', '2001:db8::1'], second: ['10.8.0.6', 'fd00:8::6'] });
        expect(arrived).toEqual([...Array<string>(4).fill(`10.8.0.6 > ${domain4}`), ...Array<string>(4).fill(`fd00:8::6 > ${domain6}`)]);
      });

      it.each<Gate>(['hold', 'open', 'reject'])('guards them under %s, known or not', async (state) => {
        await gate.install([corp]);
        await gate.set('office', state);
        for (const to of found) {
          await kernel.resolve('office', to);
          for (let round = 0; round < 2; round++) {
            expect(await leaks({ to, device: 'wan0' })).toEqual([]);
            await lab.release({ accept: true });
          }
        }
        expect((await lab.fate('router', { to: domain4 }, 0)).leaked).toEqual([]);
      });

      it('guards them also when nothing in raw has seen them', async () => {
        const [other4, other6] = ['203.0.113.77', '2001:db8:7::77'];
        await gate.install([corp]);
        for (const to of found) await kernel.resolve('office', to);
        await lab.router.run('sh', ['-ec', backend === 'nft' ? 'for hook in prerouting output; do nft flush chain inet openvpn_ondemand hook-raw-$hook; done' : `for program in ${iptables} ${iptables.replace('ip', 'ip6')}; do $program -t raw -F PREROUTING; $program -t raw -F OUTPUT; done`]);
        for (const from of ['lan', 'router'] as const) expect([await lab.where(from, { to: domain4 }), await lab.where(from, { to: domain6 }), await lab.where(from, { to: other4 }), await lab.where(from, { to: other6 })]).toEqual(['nowhere', 'nowhere', 'underlay', 'underlay']);
      });

      it('counts them', async () => {
        await opened();
        for (const to of found) {
          await kernel.resolve('office', to);
          await lab.fate('lan', { to, count: 4 });
        }
        for (const [to, from] of [['10.77.1.2', domain4], ['fd00:77::2', domain6]] as const) {
          const address = `${from}/${from.includes(':') ? 128 : 32} dev lo`;
          await lab.far.ip(`addr add ${address}${from.includes(':') ? ' nodad' : ''}`);
          await lab.agents.far.send({ to, from });
          await lab.far.ip(`addr del ${address}`);
        }
        const counted = (await gate.counters()).get('office');
        await lab.linkDown(corp.device);
        expect(counted?.in).toBe(2);
        expect(counted?.out).toBeGreaterThanOrEqual(8);
      });

      it('gives them the routes that prefixes have', async () => {
        await gate.install([corp]);
        await gate.keepAddresses('office', { ipv4: '10.8.0.6' });
        await kernel.resolve('office', domain4);
        await lab.fate('lan', { to: domain4 });
        const seen = [await routesTo(domain4)];
        await gate.set('office', 'bypass');
        seen.push(await routesTo(domain4));
        await gate.set('office', 'hold');
        seen.push(await routesTo(domain4));
        await gate.install([corp]);
        seen.push(await routesTo(domain4));
        const caught = 'dev lo scope link src 10.8.0.6 metric 4000';
        expect(seen.map((text) => text.trim())).toEqual([caught, '', caught, ''].map((text) => expect.stringContaining(text)));
        expect([seen[1], seen[3]]).toEqual(['', '']);
      });

      it('brings back what was learned when somebody has flushed the firewall', async () => {
        const watching = kernel.another({ watch: true });
        await watching.install([corp]);
        await kernel.resolve('office', domain4);
        expect(await lab.where('lan', { to: domain4 })).toBe('held');
        const repaired = firstValueFrom(watching.events$.pipe(filter(({ type }) => type === 'gate-repaired')));
        await lab.router.run('sh', ['-ec', backend === 'nft' ? 'nft flush set inet openvpn_ondemand ood-office-4; nft flush table inet openvpn_ondemand' : `ipset flush ood-office-4; ${iptables} -t raw -F`]);
        await repaired;
        expect([await lab.where('lan', { to: domain4 }), await lab.where('lan', { to: host4 })]).toEqual(['held', 'held']);
        await lab.router.run('sh', ['-c', backend === 'nft' ? 'nft flush set inet openvpn_ondemand any4' : 'ipset flush ood-any4']);
        expect(await lab.where('lan', { to: domain4 })).toBe('held');
      });

      it('drops packets to more addresses than it may learn, and says so once', async () => {
        const told: string[] = [];
        const small = kernel.another({ mostLearned: 1, warn: (event) => told.push(event) });
        await small.install([corp]);
        for (const to of found) await kernel.resolve('office', to);
        const went = [await lab.where('lan', { to: domain4 }), await lab.where('lan', { to: domain6 }), await lab.where('router', { to: domain6 }), await lab.where('router', { to: domain4 })];
        await small.remove();
        expect({ went, told }).toEqual({ went: ['held', 'nowhere', 'nowhere', 'held'], told: ['domains.too_many'] });
      });

      it('drops what can be no other host\'s', async () => {
        await gate.install([corp]);
        for (const to of ['169.254.7.7', 'fe80::7']) await kernel.resolve('office', to);
        expect(await lab.where('router', { to: '169.254.7.7' })).toBe('nowhere');
        expect(await lab.router.ip('route show proto 208')).not.toContain('169.254');
      });

      it('refuses to start beside another program that has the queue, and leaves that alone', async () => {
        await gate.install([corp]);
        await kernel.resolve('office', domain4);
        expect((await failureOf(kernel.another().install([corp]))).code).toBe('QUEUE_IN_USE');
        expect(await lab.where('lan', { to: domain4 })).toBe('held');
      });
    });

    describe('protect: everything', () => {
      it('exempts the transport, the LAN, DHCP, neighbours and what is broadcast', async () => {
        await gate.install([everything]);
        expect(await lab.where('router', { to: host4 })).toBe('held');
        expect(await lab.where('lan', { to: host6 })).toBe('held');
        expect(await lab.where('router', { to: '203.0.113.9', mark: marks.transport })).toBe('underlay');
        expect(await lab.where('router', { to: '2001:db8:9::9', mark: marks.transport | 0x1 })).toBe('underlay');
        expect(await lab.where('router', { to: '198.51.100.2' })).toBe('underlay');
        expect(await lab.where('router', { to: '2001:db8::2' })).toBe('underlay');
        expect(await lab.where('router', { to: '203.0.113.67', sport: 68, port: 67 })).toBe('underlay');
        expect(await lab.where('lan', { to: '203.0.113.67', sport: 68, port: 67 })).toBe('held');
        expect(await lab.where('router', { to: '255.255.255.255', device: 'wan0' })).toBe('underlay');
        expect(await lab.where('router', { to: 'ff02::1', device: 'wan0' })).toBe('underlay');
        expect(await lab.where('router', { to: '2001:db8:7::7', kind: 'discovery' })).toBe('underlay');
        expect(await lab.where('router', { to: '2001:db8:7::7', kind: 'discovery', hops: 64 })).toBe('held');
        // a LAN host that claims a hop limit of 255 has 254 when it leaves
        expect((await lab.fate('lan', { to: '2001:db8:7::7', kind: 'discovery' })).leaked).toEqual([]);
        expect((await lab.agents.lan.send({ to: '10.77.1.1', answer: true })).outcome).toBe('ECONNREFUSED');
        expect((await lab.agents.lan.send({ to: 'fd00:77::1', answer: true })).outcome).toBe('ECONNREFUSED');
      });

      it('takes nothing for a LAN that somebody has made a route to', async () => {
        await lab.router.batch(['route add 203.0.113.0/24 dev wan0', 'route add 2001:db8:3::/48 dev wan0']);
        await gate.install([everything]);
        expect([await lab.where('router', { to: '203.0.113.9' }), await lab.where('router', { to: '2001:db8:3::9' })]).toEqual(['held', 'held']);
        await lab.router.batch(['route del 203.0.113.0/24 dev wan0', 'route del 2001:db8:3::/48 dev wan0']);
      });

      it('lets this host reach the remote, and the LAN not', async () => {
        await gate.install([{ ...everything, remotes: ['203.0.113.5', '2001:db8:5::5'] }]);
        for (const to of ['203.0.113.5', '2001:db8:5::5']) {
          expect([await lab.where('router', { to }), await lab.where('lan', { to })]).toEqual(['underlay', 'held']);
        }
      });

      it('lets what comes out of the tunnel go anywhere', async () => {
        await gate.install([everything]);
        await gate.set('office', 'open');
        await lab.linkUp(everything.device, []);
        await lab.far.ip('route add 203.0.113.0/24 via 10.8.0.6');
        await lab.far.ip('route add 2001:db8:5::/64 via fd00:8::6');
        await lab.agents.underlay.seen();
        await lab.agents.far.send({ to: '203.0.113.7' });
        await lab.agents.far.send({ to: '2001:db8:5::7' });
        const arrived = await lab.arrivals('underlay', 2);
        await lab.linkDown(everything.device);
        expect(arrived).toEqual(['10.8.0.1 > 203.0.113.7', 'fd00:8::1 > 2001:db8:5::7']);
      });

      it('catches first what OpenVPN took over with two halves of the default route', async () => {
        await gate.install([everything]);
        await gate.set('office', 'open');
        await lab.linkUp(everything.device, ['0.0.0.0/1', '128.0.0.0/1', '::/1', '8000::/1']);
        const before = [await lab.where('router', { to: host4 }), await lab.where('router', { to: host6 })];
        await gate.catchFirst('office', true);
        const during = [await lab.where('router', { to: host4 }), await lab.where('router', { to: host6 }), await lab.where('router', { to: '198.51.100.2' }), await lab.where('router', { to: '10.77.1.2' })];
        const transport = (await lab.router.ip(`route get 203.0.113.9 mark ${marks.transport}`)).includes(`dev ${everything.device}`);
        await lab.linkDown(everything.device);
        expect(before).toEqual(['tunnel', 'tunnel']);
        expect(during).toEqual(['nowhere', 'nowhere', 'underlay', 'nowhere']);
        expect(transport).toBe(true); // not touched by the closing table: as OpenVPN's own routes say
      });
    });
  });
}
