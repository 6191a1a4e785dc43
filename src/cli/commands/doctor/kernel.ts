import { open } from 'node:fs/promises';
import type { Settings } from '../../../config/load.js';
import { DaemonError, messageOf } from '../../../core/errors.js';
import { createGate } from '../../../gate/gate.js';
import { error, ok, warning, type Finding } from './finding.js';
import type { Machine, Ran } from './machine.js';
import { ScratchNamespace } from './scratch.js';

/** Tries what the daemon needs of the kernel, in an empty network namespace: a queue, a tun device, the gate itself. */
export async function checkKernel(machine: Machine, settings: Settings | undefined): Promise<Finding[]> {
  const scratch = await ScratchNamespace.open();
  if (typeof scratch === 'string') return [warning('KERNEL_NOT_TRIED', `what the kernel can do was not tried: ${scratch}`, 'run doctor as root (in a container: with --cap-add SYS_ADMIN, too)')];
  try {
    await inside(machine, scratch, ['ip', 'link', 'set', 'lo', 'up']);
    const [queue, tun] = await Promise.all([tryQueue(scratch), tryTun(machine, scratch)]);
    return [queue, tun, ...(settings === undefined ? [] : [await tryGate(machine, settings, scratch)])];
  } finally {
    await scratch.close();
  }
}

function inside(machine: Machine, { prefix }: ScratchNamespace, command: readonly string[]): Promise<Ran | undefined> {
  const [program = '', ...args] = [...prefix, ...command];
  return machine.run(program, args);
}

/** The binding is loaded here and not before: a missing one is a finding, not an end. */
async function tryQueue(scratch: ScratchNamespace): Promise<Finding> {
  const { NfQueue } = await import('node-nfqueue').catch((cause: unknown) => ({ NfQueue: messageOf(cause) }));
  if (typeof NfQueue === 'string') return error('ADDON_MISSING', `the addon of node-nfqueue can't be loaded: ${NfQueue}`, 'npm rebuild node-nfqueue (needs a C compiler, make and python3)');
  const namespace = await open(scratch.path);
  try {
    const queue = await NfQueue.open({ num: 0, netns: namespace.fd });
    await queue.close({ held: 'drop' });
    return ok('NFQUEUE', 'the kernel has NFQUEUE, and the addon speaks to it');
  } catch (cause) {
    return error('NFQUEUE_MISSING', `no queue can be opened: ${messageOf(cause)}`, 'load the module nfnetlink_queue, or take a kernel that has it (CONFIG_NETFILTER_NETLINK_QUEUE; OpenWrt: kmod-nfnetlink-queue)');
  } finally {
    await namespace.close();
  }
}

async function tryTun(machine: Machine, scratch: ScratchNamespace): Promise<Finding> {
  const ran = await inside(machine, scratch, ['ip', 'tuntap', 'add', 'dev', 'tun0', 'mode', 'tun']);
  if (ran?.succeeded) return ok('TUN', 'tun devices can be made');
  return error('TUN_MISSING', `no tun device can be made: ${ran?.stderr ?? 'nsenter was not found'}`, 'load the module tun, and see that /dev/net/tun is there (containers: --device /dev/net/tun)');
}

async function tryGate(machine: Machine, settings: Settings, scratch: ScratchNamespace): Promise<Finding> {
  const low = (settings.mark & -settings.mark) >>> 0;
  const gate = createGate({ backend: settings.gate, marks: { mask: settings.mark, transport: low, release: (low << 1) >>> 0, reject: settings.mark }, exec: { prefix: scratch.prefix } });
  try {
    await gate.install(settings.tunnels.map((tunnel) => ({ ...tunnel, remotes: [] })));
    const chosen = await backendIn(machine, scratch, settings.gate);
    await gate.remove();
    return ok('GATE', `the gate of this configuration was set in an empty namespace, and removed; backend: ${chosen}`);
  } catch (cause) {
    const hint = cause instanceof DaemonError ? cause.hint : undefined;
    return error('GATE_IMPOSSIBLE', `the gate of this configuration can't be set: ${cause instanceof DaemonError ? cause.describe() : messageOf(cause)}`, hint ?? 'choose another backend with `gate`');
  }
}


/** Which backend set the gate that stands in the namespace, and why that one: only the iptables backend has sets of ipset. */
async function backendIn(machine: Machine, scratch: ScratchNamespace, wanted: Settings['gate']): Promise<string> {
  const sets = await inside(machine, scratch, ['ipset', 'list', '-name']);
  const name = (sets?.stdout ?? '').includes('ood-') ? 'iptables with ipset' : 'nft';
  if (wanted !== 'auto') return `${name}, as \`gate: ${wanted}\` says`;
  return name === 'nft' ? 'nft, since iptables with ipset does not work here' : `${name}, which \`gate: auto\` prefers where it works`;
}
