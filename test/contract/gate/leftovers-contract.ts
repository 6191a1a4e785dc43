import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import type { GatePort } from '../../../src/core/ports.js';
import type { Backend } from '../../../src/gate/gate.js';
import { kernelGate, type KernelGate } from './kernel-gate.js';
import { tunnelOf, type RouterLab } from './router-lab.js';

const office = tunnelOf();
const everything = tunnelOf({ protect: ['0.0.0.0/0', '::/0'] });
const [host4, host6] = ['10.99.3.1', 'fd00:99::3:1'];
const hosts = [host4, host6];

/** What is there before and after: what the gate leaves behind, takes over, and does without. Every backend reads the kernel in its own way. */
export function leftoversContract(backend: Backend): void {
  describe(`gate, what it leaves behind: ${backend}`, () => {
    let lab: RouterLab;
    let gate: GatePort;
    let kernel: KernelGate;
    beforeAll(async () => {
      kernel = await kernelGate(backend);
      ({ lab, gate } = kernel);
    });
    afterAll(() => lab.dispose());
    afterEach(() => kernel.clear());

    it('is nothing, after remove; what others made stays', async () => {
      const clean = await lab.state();
      await foreign(lab, true);
      const before = await lab.state();
      await gate.install([everything, tunnelOf({ name: 'a tunnel with a very long name, and blanks', device: 'ovpn-2', queue: 12, protect: ['10.99.5.0/24'], onFailure: 'drop' })]);
      await gate.keepAddresses('office', { ipv4: '10.8.0.6', ipv6: 'fd00:8::6' });
      await gate.catchFirst('office', true);
      expect(await lab.state()).not.toBe(before);
      // by a process that knows nothing of the first
      const removed = await kernel.another({ closingTable: 4711, routeMetric: 77 }).remove();
      expect(await lab.state()).toBe(before);
      expect(removed.join('\n')).toContain('addr 10.8.0.6/32 dev lo');
      await foreign(lab, false);
      expect(await lab.state()).toBe(clean);
    });

    it('is what dnsmasq added, if that is to be kept, and that is no earlier run', async () => {
      const clean = await lab.state();
      const told: string[] = [];
      const next = kernel.another({ warn: (event) => told.push(event) });
      const corp = tunnelOf({ protect: [], domains: ['corp.example'] });
      const addresses = ['203.0.113.7', '2001:db8:7::7'];
      await gate.install([corp]);
      await gate.keepAddresses('office', { ipv4: '10.8.0.6', ipv6: 'fd00:8::6' });
      for (const to of addresses) {
        await kernel.resolve('office', to);
        expect(await lab.where('lan', { to })).toBe('held');
      }
      await lab.release({ accept: false });
      await gate.remove({ keepDomains: true });
      const kept = (await lab.state()).split('\n').filter((line) => !clean.includes(line)).map((line) => line.split(' ', 3).join(' '));
      await next.install([corp]);
      const went = [];
      for (const to of addresses) went.push(await lab.where('lan', { to }));
      await next.remove();
      expect(await lab.state()).toBe(clean);
      expect({ went, told }).toEqual({ went: ['held', 'held'], told: [] });
      if (backend !== 'nft') expect(kept.sort()).toEqual(['add ood-office-dns4 203.0.113.7', 'add ood-office-dns6 2001:db8:7::7', 'create ood-office-dns4 hash:ip', 'create ood-office-dns6 hash:ip']);
    });

    it('is an address on lo only if it was not there before', async () => {
      await lab.router.ip('addr add 10.8.0.6/32 dev lo');
      const before = await lab.state();
      await gate.install([office]);
      await gate.keepAddresses('office', { ipv4: '10.8.0.6' });
      await gate.keepAddresses('office', { ipv4: '10.8.0.7' });
      expect(await lab.router.ip('addr show dev lo')).toContain('10.8.0.7/32');
      await gate.remove();
      const after = await lab.state();
      await lab.router.ip('addr del 10.8.0.6/32 dev lo');
      expect(after).toBe(before);
    });

    it('is taken over by the next run without an open moment', async () => {
      await gate.install([office, tunnelOf({ name: 'gone', device: 'ovpn-gone', queue: 12, protect: ['10.98.0.0/16'] })]);
      await gate.keepAddresses('office', { ipv4: '10.8.0.6', ipv6: 'fd00:8::6' });
      await gate.set('office', 'open');
      await gate.catchFirst('office', true);
      await foreign(lab, true);
      const told: string[] = [];
      const next = kernel.another({ closingTable: 300, warn: (event) => told.push(event) });
      const flood = hosts.map((to) => lab.agents.lan.send({ to, count: 1500, pause: 0.001 }));
      for (let i = 0; i < 4; i++) await next.install([{ ...office, protect: [...office.protect, '10.97.0.0/16'] }]);
      expect((await Promise.all(flood)).map(({ outcome }) => outcome)).toEqual(['sent', 'sent']);
      expect(await lab.arrivals('underlay', 1)).toEqual([]);
      await lab.release({ accept: false });
      expect(told).toEqual(['gate.taken_over']);
      const went = { kept: await lab.where('lan', { to: host4 }), added: await lab.where('lan', { to: '10.97.0.1' }), gone: await lab.where('lan', { to: '10.98.0.1' }) };
      expect(went).toEqual({ kept: 'held', added: 'held', gone: 'underlay' });
      // the address of the earlier run is still given to local programs
      expect((await lab.fate('router', { to: host4 })).source).toBe('10.8.0.6');
      const state = await lab.state();
      expect(state).not.toContain('gone');
      expect(state).not.toContain('table 20800');
      await foreign(lab, false);
    });

    it('stands again when somebody has flushed it: gates, addresses and what is held as before, nothing of others touched', async () => {
      await foreign(lab, true);
      const told: string[] = [];
      const watching = kernel.another({ watch: true });
      const lan = tunnelOf({ name: 'lab', device: 'ovpn-lab', queue: 12, protect: ['10.98.0.0/16'] });
      await watching.install([office, lan], (name) => (name === 'lab' ? 'bypass' : 'hold'));
      await watching.keepAddresses('office', { ipv4: '10.8.0.6' });
      expect(await lab.where('lan', { to: host4 })).toBe('held');
      const before = await lab.state();
      const repairs = (): number => told.filter((type) => type === 'gate-repaired').length;
      watching.events$.subscribe(({ type }) => told.push(type));
      for (const [index, flush] of flushes(backend).entries()) {
        await lab.router.run('sh', ['-ec', flush]);
        // where the kernel tells of nothing, it is seen when we act anyway
        let state = '';
        for (let look = 0; look < 100 && !(state === before && repairs() > index); look++) {
          if (backend === 'iptables-legacy') watching.look();
          await sleep(25);
          state = await lab.state();
        }
        expect({ flush, state }).toEqual({ flush, state: before });
        expect(repairs()).toBeGreaterThan(index);
        expect([await lab.where('lan', { to: host4 }), await lab.where('router', { to: host6 }), await lab.where('lan', { to: '10.98.0.1' })]).toEqual(['held', 'held', 'underlay']);
      }
      expect(told).toEqual(Array.from({ length: repairs() }, () => ['gate-broken', 'gate-repaired']).flat());
      // one from before the first flush, and two for each
      if (backend !== 'nft') expect(await lab.held()).toBe(1 + 2 * flushes(backend).length);
      await foreign(lab, false);
    });

    it('leaves changes of others alone, and ends its watch', async () => {
      const told: string[] = [];
      const watching = kernel.another({ watch: true, warn: (event) => told.push(event) });
      await watching.install([office]);
      for (const flag of ['-A', '-D']) await lab.router.run('iptables-nft', ['-t', 'raw', flag, 'PREROUTING', '-s', '192.0.2.1', '-j', 'DROP']);
      await watching.set('office', 'open');
      await watching.remove();
      expect(told).toEqual([]);
      expect((await lab.programs()).filter((name) => name.startsWith('nft'))).toEqual([]);
    });

    it('keeps traffic off the underlay even when the firewall is flushed', async () => {
      await gate.install([office]);
      for (const tables of ['iptables-legacy', 'ip6tables-legacy', 'iptables-nft', 'ip6tables-nft']) {
        for (const table of ['raw', 'mangle', 'filter', 'nat']) await lab.router.run(tables, ['-t', table, '-F']);
      }
      await lab.router.run('nft', ['flush', 'ruleset']);
      for (const from of ['lan', 'router'] as const) for (const to of hosts) expect((await lab.fate(from, { to })).leaked).toEqual([]);
    });
  });
}

/** What firewalls do to one another, as shell commands. */
function flushes(backend: Backend): readonly string[] {
  if (backend === 'nft') return ['nft flush table inet openvpn_ondemand', 'nft delete table inet openvpn_ondemand', 'nft delete chain inet openvpn_ondemand hook-mangle-postrouting'];
  const [four, six] = backend === 'iptables-legacy' ? ['iptables-legacy', 'ip6tables-legacy'] : ['iptables-nft', 'ip6tables-nft'];
  return [`${four} -t raw -F; ${four} -t mangle -F OOD-guard`, `${six} -t mangle -D POSTROUTING 1`, `for table in raw mangle nat filter; do ${four} -t $table -F OOD-guard-office || true; ${six} -t $table -F OUTPUT; done`];
}

/** Rules, sets, routes and addresses that are not ours, some of them much like ours. */
async function foreign(lab: RouterLab, there: boolean): Promise<void> {
  const [verb, flag, create] = there ? ['add', '-I', 'create'] : ['del', '-D', 'destroy'];
  for (const program of ['iptables-legacy', 'ip6tables-nft']) {
    await lab.router.run(program, ['-t', 'mangle', flag, 'POSTROUTING', '-m', 'comment', '--comment', 'not OOD-guard', '-j', 'ACCEPT']);
    await lab.router.run(program, ['-t', 'raw', there ? '-N' : '-X', 'OODLE']);
  }
  await lab.router.run('ipset', there ? [create, 'foodood-1', 'hash:net'] : [create, 'foodood-1']);
  await lab.router.ip(`route ${verb} 192.0.2.0/24 dev lo metric 4000 proto 4`);
  await lab.router.ip(`rule ${verb} pref 90 fwmark 0x1 lookup 20800`);
  await lab.router.ip(`addr ${verb} 192.0.2.1/32 dev lo`);
}
