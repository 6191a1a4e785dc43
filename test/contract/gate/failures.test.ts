import { mkdtemp, rename, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { execa } from 'execa';
import { filter, firstValueFrom } from 'rxjs';
import { createGate, probeBackends, type GateOptions } from '../../../src/gate/gate.js';
import { failureOf, marks, RouterLab, tunnelOf } from './router-lab.js';

describe('gate: what can go wrong', () => {
  let lab: RouterLab;
  let clean: string;
  const folders: string[] = [];
  beforeAll(async () => {
    lab = await RouterLab.create();
    clean = await lab.state();
  });
  afterEach(() => gateWith().remove());
  afterAll(async () => {
    await lab.dispose();
    await Promise.all(folders.map((folder) => rm(folder, { recursive: true })));
  });

  const inside = (...command: readonly string[]): NonNullable<GateOptions['exec']> => ({ ...lab.exec, prefix: [...lab.prefix, ...command] });
  const gateWith = (exec = inside()) => createGate({ backend: 'iptables-legacy', marks, exec });

  /** A PATH with everything that the gate needs but one program. */
  async function pathWithout(missing: string): Promise<string> {
    const folder = await mkdtemp(join(tmpdir(), 'ood-path-'));
    folders.push(folder);
    const programs = ['ip', 'ipset', ...['iptables', 'ip6tables'].flatMap((name) => [`${name}-legacy`, `${name}-legacy-save`, `${name}-legacy-restore`])];
    for (const program of programs.filter((name) => name !== missing)) await symlink((await execa('which', [program])).stdout, join(folder, program));
    return folder;
  }

  it.each([
    ['ip', 'iproute2'],
    ['ipset', 'ipset'],
    ['iptables-legacy', 'iptables'],
    ['iptables-legacy-restore', 'iptables'],
    ['ip6tables-legacy-save', 'iptables'],
    // by then IPv4 is installed, and has to go again
    ['ip6tables-legacy-restore', 'iptables'],
  ])('says that %s is missing, and which package has it', async (program, inPackage) => {
    const error = await failureOf(gateWith({ ...inside(), env: { PATH: await pathWithout(program) } }).install([tunnelOf()]));
    expect({ code: error.code, message: error.message, hint: error.hint }).toEqual({ code: 'PROGRAM_MISSING', message: `${program} was not found`, hint: `install it; in Debian: apt install ${inPackage}` });
    expect(await gateWith().remove()).toEqual([]);
    expect(await lab.state()).toBe(clean);
  });

  it('does without ip6tables where nothing of IPv6 is protected', async () => {
    const gate = gateWith({ ...inside(), env: { PATH: await pathWithout('ip6tables-legacy-save') } });
    await gate.install([tunnelOf({ protect: ['10.99.0.0/16'] })]);
    expect(await lab.where('lan', { to: '10.99.0.1' })).toBe('held');
    await gate.remove();
    expect(await lab.state()).toBe(clean);
  });

  it('says that it needs CAP_NET_ADMIN', async () => {
    const error = await failureOf(gateWith(inside('setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', '--inh-caps=-all')).install([tunnelOf()]));
    expect({ code: error.code, hint: error.hint }).toEqual({ code: 'NOT_PERMITTED', hint: 'run as root, or with CAP_NET_ADMIN' });
    expect(await lab.state()).toBe(clean);
  });

  it.each(['iptables-nft', 'iptables-legacy'] as const)('without CAP_NET_RAW %s does not work here, and says so', async (backend) => {
    const exec = inside('setpriv', '--bounding-set=-net_raw', '--inh-caps=-net_raw');
    const error = await failureOf(createGate({ backend, marks, exec }).install([tunnelOf()]));
    // iptables-legacy can't even list a table
    expect({ code: error.code, hint: error.hint }).toEqual({ code: expect.stringMatching(/^(FIREWALL_FAILED|NOT_PERMITTED)$/), hint: expect.stringContaining('CAP_NET_RAW') });
    // so `auto` goes on to the next
    expect((await probeBackends(exec)).find((probe) => probe.backend === 'iptables')).toHaveProperty('whyNot');
    expect(await lab.state()).toBe(clean);
  });

  it('names the line that was refused, and leaves nothing', async () => {
    const error = await failureOf(gateWith().install([tunnelOf({ device: 'a-device-name-that-is-too-long' })]));
    expect(error.code).toBe('FIREWALL_FAILED');
    expect(error.place).toContain('a-device-name-that-is-too-long');
    expect(await lab.state()).toBe(clean);
  });

  it('leaves nothing when the routes are refused', async () => {
    await lab.router.ip('link set lo down');
    const error = await failureOf(gateWith().install([tunnelOf({ protect: ['10.99.0.0/16'] })]));
    await lab.router.ip('link set lo up');
    expect({ code: error.code, place: error.place }).toEqual({ code: 'ROUTE_FAILED', place: 'route replace 10.99.0.0/16 dev lo metric 4000 proto 208' });
    expect(await lab.state()).toBe(clean);
  });

  it('keeps what an earlier run guards', async () => {
    await gateWith().install([tunnelOf()]);
    await failureOf(gateWith().install([tunnelOf({ device: 'a-device-name-that-is-too-long' })]));
    expect(await lab.where('lan', { to: '10.99.0.1' })).toBe('held');
    expect((await lab.fate('router', { to: '10.99.0.1', device: 'wan0' })).leaked).toEqual([]);
  });

  it('goes on after a change that failed half-way', async () => {
    const gate = gateWith();
    await gate.install([tunnelOf()]);
    await lab.router.run('sh', ['-ec', 'for table in raw mangle nat filter; do ip6tables-legacy -t $table -F; ip6tables-legacy -t $table -X; done; ipset destroy ood-office-6']);
    expect((await failureOf(gate.set('office', 'open'))).message).toBe('a set of ours is not there any more');
    expect(await lab.where('lan', { to: '10.99.0.1' })).toBe('held');
    await lab.router.run('ipset', ['create', 'ood-office-6', 'hash:net', 'family', 'inet6']);
    await gate.set('office', 'open');
    expect(await lab.where('lan', { to: '10.99.0.1' })).toBe('nowhere');
    const lists = (await lab.state()).split('\n').filter((line) => line.startsWith('add ood-open'));
    expect(lists.sort()).toEqual(['add ood-open4 ood-office-4', 'add ood-open6 ood-office-6']);
  });

  it('a repair that comes after a bypass could not be ended does not bring it back', async () => {
    const path = await pathWithout('');
    const ipset = join(path, 'ipset');
    const gate = createGate({ backend: 'iptables-legacy', marks, exec: { ...inside(), env: { PATH: path } }, watch: true });
    await gate.install([tunnelOf()]);
    await gate.set('office', 'bypass');
    await lab.router.run('sh', ['-ec', 'for table in raw mangle nat filter; do for i in ip ip6; do ${i}tables-legacy -t $table -F; ${i}tables-legacy -t $table -X; done; done; ipset flush; ipset destroy']);
    await rename(ipset, `${ipset}-not`);
    expect((await failureOf(gate.set('office', 'hold'))).code).toBe('PROGRAM_MISSING');
    const repaired = firstValueFrom(gate.events$.pipe(filter(({ type }) => type === 'gate-repaired')));
    await rename(`${ipset}-not`, ipset);
    await repaired;
    for (const to of ['10.99.0.1', 'fd00:99::1']) expect([await lab.where('lan', { to }), await lab.where('router', { to })]).toEqual(['held', 'held']);
    for (const prefix of ['10.99.0.0/16', 'fd00:99::/48']) expect(await lab.router.ip(`${prefix.includes(':') ? '-6 ' : ''}route show ${prefix} proto 208`)).toContain('dev lo');
  });

  it('goes on where somebody has removed its routing rules', async () => {
    const gate = gateWith();
    await gate.install([tunnelOf()]);
    const rules = async () => (await Promise.all(['-4 rule', '-6 rule'].map((args) => lab.router.ip(args)))).filter((text) => text.includes('90:')).length;
    await gate.catchFirst('office', true);
    expect(await rules()).toBe(2);
    await lab.router.ip('-6 rule del pref 90'); // of one family: the other is still to be removed
    await gate.catchFirst('office', false);
    expect(await rules()).toBe(0);
    await gate.catchFirst('office', true);
    expect(await rules()).toBe(2);
  });

  it('goes on where somebody has removed an address that it kept', async () => {
    const gate = gateWith();
    await gate.install([tunnelOf()]);
    await gate.keepAddresses('office', { ipv4: '10.8.0.2' });
    await lab.router.ip('addr del 10.8.0.2/32 dev lo');
    await gate.keepAddresses('office', { ipv4: '10.8.0.3' });
    expect(await lab.router.ip('route show 10.99.0.0/16')).toContain('src 10.8.0.3');
  });

  it('drops what is protected while nobody listens', async () => {
    const deaf = await RouterLab.create({ listen: false });
    await createGate({ backend: 'iptables-legacy', marks, exec: deaf.exec }).install([tunnelOf()]);
    const fates = [await deaf.fate('lan', { to: '10.99.0.1' }), await deaf.fate('router', { to: 'fd00:99::1' })];
    await deaf.dispose();
    expect(fates.map(({ held, leaked }) => ({ held, leaked }))).toEqual([{ held: 0, leaked: [] }, { held: 0, leaked: [] }]);
  });
});
