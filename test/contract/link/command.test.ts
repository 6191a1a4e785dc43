import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { Netns } from '../../lab/netns.js';
import { until } from '../../lab/wait.js';
import { LinkHost, type HostedLink, type HostOptions } from './link-host-client.js';

let netns: Netns;
let folder: string;
let host: LinkHost;

const file = (name: string): string => join(folder, name);
const pidIn = (name: string): number => Number(readFileSync(file(name), 'utf8'));

/** Writes its pid into FOLDER/NAME and then does the rest. */
const noting = (name: string, rest: string): string[] => ['sh', '-c', `echo $$ > ${file(`${name}.new`)}; mv ${file(`${name}.new`)} ${file(name)}; ${rest}`];
/** Adds a line to FOLDER/NAME. */
const tracing = (name: string): string[] => ['sh', '-c', `echo "$OPENVPN_ONDEMAND_TUNNEL $OPENVPN_ONDEMAND_DEVICE" >> ${file(name)}`];

function open(options: Omit<HostOptions, 'marker'>, where = host): Promise<HostedLink> {
  return where.open({ marker: file('marker'), ...options });
}

beforeAll(async () => {
  netns = await Netns.create('link');
  await netns.batch(['link add eth1 type veth peer name far', 'addr add 192.168.1.2/24 dev eth1', 'link set far up', 'link set eth1 up']);
  host = new LinkHost(netns);
});

afterAll(async () => {
  try {
    expect(await host.end()).toBe(0);
    expect(await netns.pids()).toEqual([]); // every case ended what it started
  } finally {
    await netns.dispose();
  }
});

beforeEach(() => { folder = mkdtempSync(join(tmpdir(), 'ood-link-')); });
afterEach(() => { rmSync(folder, { recursive: true }); });

describe('a link of two commands', () => {
  it('a host route: up when `up` has ended well, gone after stop; the device\'s own addresses are not the link\'s', async () => {
    const link = await open({ up: ['ip', 'route', 'add', '192.168.1.1/32', 'dev', 'eth1'], down: ['ip', 'route', 'del', '192.168.1.1/32', 'dev', 'eth1'] });
    for (let round = 0; round < 2; round++) {
      link.say('dial');
      expect(await link.next()).toEqual({ type: 'link-up', device: 'eth1', addresses: {} });
      expect(await netns.ip('route show 192.168.1.1')).toContain('dev eth1');
      expect(existsSync(file('marker'))).toBe(true);
      link.say('stop');
      expect(await link.next()).toEqual({ type: 'link-down', reason: 'stopped' });
      expect(await netns.ip('route show 192.168.1.1')).toBe('');
      expect(existsSync(file('marker'))).toBe(false);
    }
    link.say('close');
    expect(await link.next()).toEqual({ type: 'complete' });
  });

  it('a device that comes with the link: its addresses are told', async () => {
    const up = ['ip link add vpn9 type veth peer name peer9', 'ip addr add 10.8.0.2/24 dev vpn9', 'ip addr add fd00:8::2/64 dev vpn9 nodad', 'ip link set vpn9 up'].join(' && ');
    const link = await open({ device: 'vpn9', up: ['sh', '-c', up], down: ['ip', 'link', 'del', 'vpn9'] });
    link.say('dial');
    expect(await link.next()).toEqual({ type: 'link-up', device: 'vpn9', addresses: { ipv4: '10.8.0.2', ipv6: 'fd00:8::2' } });
    link.say('close');
    expect(await link.next()).toEqual({ type: 'complete' });
    expect(await netns.ip('-o link')).not.toContain('vpn9');
  });

  it('the commands know tunnel and device', async () => {
    const link = await open({ up: tracing('up'), down: tracing('down') });
    link.say('dial', 'stop');
    await link.seen({ type: 'link-down' });
    expect(readFileSync(file('down'), 'utf8')).toBe('lan2 eth1\n');
  });

  it('`up` fails: a failed dial with its status and its last words; `down` is not run, since what is there may be somebody else\'s', async () => {
    await netns.ip('route add 192.168.1.7/32 dev eth1');
    const link = await open({ up: ['ip', 'route', 'add', '192.168.1.7/32', 'dev', 'eth1'], down: ['ip', 'route', 'del', '192.168.1.7/32', 'dev', 'eth1'] });
    link.say('dial');
    const detail = 'ip ended with status 2: RTNETLINK answers: File exists';
    expect(await link.next()).toEqual({ type: 'link-down', reason: detail, failure: { code: 'exit', detail } });
    link.say('stop'); // nothing is there: answered at once
    expect(await link.next()).toEqual({ type: 'link-down', reason: 'stopped' });
    expect(await netns.ip('route show 192.168.1.7')).toContain('dev eth1');
    await netns.ip('route del 192.168.1.7/32 dev eth1');
  });

  it('`up` is not there: a failed dial, and the next one works when it is', async () => {
    const link = await open({ up: [file('up.sh')], down: ['true'] });
    link.say('dial');
    expect(await link.next()).toMatchObject({ type: 'link-down', failure: { code: 'exit', detail: `${file('up.sh')} is not there` } });
    writeFileSync(file('up.sh'), '#!/bin/sh\n', { mode: 0o755 });
    link.say('dial');
    expect(await link.next()).toMatchObject({ type: 'link-up' });
  });

  it('`up` can\'t be started: a failed dial with the reason', async () => {
    writeFileSync(file('up.sh'), '', { mode: 0o644 });
    const link = await open({ up: [file('up.sh')], down: ['true'] });
    link.say('dial');
    expect(await link.next()).toMatchObject({ type: 'link-down', failure: { code: 'exit', detail: expect.stringMatching(/can't be started: .*EACCES/) } });
    await until('the marker is gone', () => !existsSync(file('marker')));
  });

  it('`up` hangs, with a child of its own: stop ends both, runs `down`, and tells', async () => {
    const link = await open({ up: noting('up', `sleep 1000 & echo $! > ${file('child')}; wait`), down: tracing('down') });
    link.say('dial');
    await until('the child runs', () => existsSync(file('child')));
    link.say('stop');
    expect(await link.next()).toEqual({ type: 'link-down', reason: 'stopped' });
    expect(existsSync(file('down'))).toBe(true);
    expect(alive(pidIn('up')) || alive(pidIn('child'))).toBe(false);
  });

  it('`up` does not obey SIGTERM: it is killed after 5 s', async () => {
    const link = await open({ up: ['sh', '-c', `trap "" TERM; echo $$ > ${file('up')}; while :; do sleep 1000; done`], down: ['true'] });
    link.say('dial');
    await until('it runs', () => existsSync(file('up')));
    const before = performance.now();
    link.say('stop');
    expect(await link.next()).toEqual({ type: 'link-down', reason: 'stopped' });
    expect(performance.now() - before).toBeGreaterThan(4900);
    expect(alive(pidIn('up'))).toBe(false);
  });

  it('kill -9 of `up`: a failed dial; its children are ended, and `down` clears what it left', async () => {
    const link = await open({ up: noting('up', `sleep 1000 & echo $! > ${file('child')}; wait`), down: tracing('down') });
    link.say('dial');
    await until('the child runs', () => existsSync(file('child')));
    process.kill(pidIn('up'), 'SIGKILL');
    expect(await link.next()).toEqual({ type: 'link-down', reason: 'sh was ended by SIGKILL', failure: { code: 'exit', detail: 'sh was ended by SIGKILL' } });
    await until('down was run', () => existsSync(file('down')));
    expect(alive(pidIn('child'))).toBe(false);
  });

  it('ready by signal: up when somebody says so, as long as the command runs in the foreground', async () => {
    const link = await open({ ready: 'signal', up: noting('up', 'exec sleep 1000'), down: tracing('down') });
    link.say('ready');
    expect(await link.next()).toEqual({ type: 'answer', ready: false });
    link.say('dial');
    await until('it runs', () => existsSync(file('up')));
    link.say('ready', 'ready');
    expect(await link.next()).toEqual({ type: 'answer', ready: true });
    await link.seen({ type: 'link-up' });
    process.kill(pidIn('up'), 'SIGKILL');
    expect(await link.next()).toEqual({ type: 'link-down', reason: 'sh was ended by SIGKILL' });
    await until('down was run', () => existsSync(file('down')));
    expect(link.events.filter(({ type }) => type === 'link-up')).toHaveLength(1);
  });

  it('ready by signal, by a script that is through then: it stays up, until stop', async () => {
    const link = await open({ ready: 'signal', up: noting('up', 'exit 0'), down: ['true'] });
    link.say('dial');
    await until('it ran', () => existsSync(file('up')) && !alive(pidIn('up')));
    link.say('ready');
    await link.seen({ type: 'link-up' });
    link.say('stop');
    expect(await link.next()).toEqual({ type: 'link-down', reason: 'stopped' });
    expect(link.events.filter(({ type }) => type === 'link-down')).toHaveLength(1);
  });

  it('ready by signal, by a program that ends with its device: link-down without a failure', async () => {
    const up = 'ip link add vpn9 type veth peer name peer9; read -r line < "$0"; ip link del vpn9';
    await execa('mkfifo', [file('fifo')]);
    const link = await open({ device: 'vpn9', ready: 'signal', up: ['sh', '-c', up, file('fifo')], down: ['true'] });
    link.say('dial');
    await until('the device is there', async () => (await netns.ip('-o link')).includes('vpn9'));
    link.say('ready');
    await link.seen({ type: 'link-up' });
    writeFileSync(file('fifo'), 'end\n');
    expect(await link.next()).toEqual({ type: 'link-down', reason: 'sh ended' });
  });

  it('`down` fails: told, and down all the same', async () => {
    const link = await open({ up: ['true'], down: ['sh', '-c', 'echo no such thing >&2; exit 3'] });
    link.say('dial');
    await link.seen({ type: 'link-up' });
    link.say('stop');
    expect(await link.next()).toMatchObject({ type: 'warn', event: 'link.down_failed', message: expect.stringContaining('sh ended with status 3: no such thing') });
    expect(await link.next()).toEqual({ type: 'link-down', reason: 'stopped' });
  });

  it('`down` hangs: ended after its time, told, and down all the same', async () => {
    const link = await open({ up: ['true'], down: ['sleep', '1000'], downTimeoutMs: 200 });
    link.say('dial');
    await link.seen({ type: 'link-up' });
    link.say('stop');
    expect(await link.next()).toMatchObject({ type: 'warn', message: expect.stringContaining('longer than 200 ms') });
    expect(await link.next()).toEqual({ type: 'link-down', reason: 'stopped' });
  });

  it('dial during stop: comes up again when `down` is through, without a link-down between', async () => {
    const link = await open({ up: tracing('order'), down: ['sh', '-c', `sleep 0.3; echo down >> ${file('order')}`] });
    link.say('dial');
    await link.seen({ type: 'link-up' });
    link.say('stop', 'dial');
    expect(await link.next()).toMatchObject({ type: 'link-up' });
    expect(readFileSync(file('order'), 'utf8')).toBe('lan2 eth1\ndown\nlan2 eth1\n');
  });

  it('redial: down and up again', async () => {
    const link = await open({ up: tracing('order'), down: ['sh', '-c', `echo down >> ${file('order')}`] });
    link.say('redial', 'dial'); // nobody wanted it yet
    await link.seen({ type: 'link-up' });
    link.say('redial');
    expect(await link.next()).toMatchObject({ type: 'link-up' });
    expect(readFileSync(file('order'), 'utf8')).toBe('lan2 eth1\ndown\nlan2 eth1\n');
  });

  it('a background process that keeps the pipes open does not hold up the link', async () => {
    const link = await open({ up: ['sh', '-c', `sleep 1000 & echo $! > ${file('child')}`], down: ['sh', '-c', `kill $(cat ${file('child')})`] });
    link.say('dial');
    await link.seen({ type: 'link-up' });
    expect(alive(pidIn('child'))).toBe(true); // it is the link, for all we know
    link.say('close');
    expect(await link.next()).toEqual({ type: 'complete' });
  });

  it('close while `up` runs: nothing outlives it', async () => {
    const link = await open({ up: noting('up', 'sleep 1000'), down: tracing('down') });
    link.say('dial');
    await until('it runs', () => existsSync(file('up')));
    link.say('close');
    expect(await link.next()).toEqual({ type: 'complete' });
    expect(alive(pidIn('up'))).toBe(false);
    expect(existsSync(file('down'))).toBe(true);
  });

  it('after kill -9 of the daemon the next start takes the link down first', async () => {
    const commands = { up: ['ip', 'route', 'add', '192.168.1.1/32', 'dev', 'eth1'], down: ['ip', 'route', 'del', '192.168.1.1/32', 'dev', 'eth1'] };
    const killed = new LinkHost(netns);
    const first = await open(commands, killed);
    first.say('dial');
    await first.seen({ type: 'link-up' });
    await killed.kill();
    expect(await netns.ip('route show 192.168.1.1')).toContain('dev eth1');
    const second = await open(commands);
    expect(second.events).toMatchObject([{ type: 'warn', event: 'link.left_up' }, { type: 'started' }]);
    expect(await netns.ip('route show 192.168.1.1')).toBe('');
  });
});

/** Runs, and is no zombie that nobody has collected yet. */
function alive(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}
