import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { devices } from '../../lab/addresses.js';
import { Daemon } from '../../lab/daemon.js';
import { contextSwitches } from '../../lab/judge.js';
import { Lab, serviceAddress, servicePort } from '../../lab/lab.js';
import { residentBytes } from '../nfqueue/machine.js';
import { PlainOpenvpn } from './baseline.js';

const DAY_S = 86_400;
/** V8 looks once whether memory can be given back, 8 s after its last work; then it is as small and as quiet as it gets. */
const SETTLE_MS = 10_000;
const WINDOW_S = 30;

export interface IdleFigures {
  readonly wakeupsPerMinute: number;
  readonly bytesPerDay: number;
  readonly residentMb: number;
}

/** The daemon with a tunnel that nobody wants. */
export async function measureIdle(standby: 'cold' | 'warm', windowS = WINDOW_S): Promise<IdleFigures> {
  const lab = await Lab.open();
  try {
    const daemon = await Daemon.start(lab, { tunnel: { standby } });
    await sleep(SETTLE_MS);
    const openvpn = await daemon.openvpnPids();
    const switches = (): number => [daemon.pid, ...openvpn].reduce((sum, pid) => sum + contextSwitches(pid), 0);
    const before = { switches: switches(), bytes: underlayBytes(daemon.pid) };
    await sleep(windowS * 1000);
    const figures = { wakeupsPerMinute: (switches() - before.switches) * 60 / windowS, bytesPerDay: (underlayBytes(daemon.pid) - before.bytes) * DAY_S / windowS, residentMb: (await residentBytes(daemon.pid)) / 1e6 };
    await daemon.stop();
    return figures;
  } finally {
    await lab.close();
  }
}

/** OpenVPN that is always up, with the usual `keepalive 10 60`, and nobody who uses it. */
export async function measureAlwaysOn(windowS = WINDOW_S): Promise<Pick<IdleFigures, 'bytesPerDay'>> {
  const lab = await Lab.open({ server: { keepalive: [10, 60] } });
  try {
    const plain = await PlainOpenvpn.start(lab);
    await sleep(SETTLE_MS);
    const [pid = 0] = await lab.topology.router.pids();
    const before = underlayBytes(pid);
    await sleep(windowS * 1000);
    const bytesPerDay = (underlayBytes(pid) - before) * DAY_S / windowS;
    await plain.stop();
    return { bytesPerDay };
  } finally {
    await lab.close();
  }
}

/** One wake from idle to idle again: OpenVPN's handshake, one TCP connection, OpenVPN's goodbye. */
export async function measureWakeBytes(): Promise<number> {
  const lab = await Lab.open();
  try {
    const daemon = await Daemon.start(lab);
    await sleep(SETTLE_MS);
    const before = underlayBytes(daemon.pid);
    const answer = await lab.probes.lan.connect(serviceAddress.ipv4, servicePort);
    if (!answer.ok) throw new Error('the service did not answer');
    await daemon.reaches('up');
    await daemon.down();
    await daemon.reaches('idle');
    await sleep(SETTLE_MS);
    const bytes = underlayBytes(daemon.pid) - before;
    await daemon.stop();
    return bytes;
  } finally {
    await lab.close();
  }
}

/** A Node process that does nothing. */
export async function bareNodeMb(): Promise<number> {
  const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1e9)'], { stdio: 'ignore' });
  await sleep(SETTLE_MS);
  const bytes = await residentBytes(child.pid ?? 0);
  const exited = once(child, 'exit');
  child.kill('SIGKILL');
  await exited;
  return bytes / 1e6;
}

/** Received and sent on the underlay device, as the kernel counts them (proc_net_dev). */
function underlayBytes(pid: number): number {
  const line = readFileSync(`/proc/${pid}/net/dev`, 'utf8').split('\n').find((text) => text.trim().startsWith(`${devices.router.underlay}:`)) ?? '';
  const fields = line.split(':')[1]?.trim().split(/\s+/).map(Number) ?? [];
  return (fields[0] ?? 0) + (fields[8] ?? 0);
}
