import { open } from 'node:fs/promises';
import type { Settings } from '../../../config/load.js';
import { DaemonError, messageOf } from '../../../core/errors.js';
import { autoChoice, createGate, probeBackends, type BackendProbe } from '../../../gate/gate.js';
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
    const probes = await probeBackends(execIn(scratch));
    return [queue, tun, ...probes.map(backendFinding), ...(settings === undefined ? [] : [await tryGate(settings, scratch, probes)])];
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

function execIn({ prefix, path, procNet }: ScratchNamespace): NonNullable<Parameters<typeof probeBackends>[0]> {
  return { prefix, netns: path, procNet };
}

/** One of them is needed: which one, `GATE` tells. */
function backendFinding({ backend, whyNot }: BackendProbe): Finding {
  const code = `GATE_${backend.toUpperCase()}`;
  return whyNot === undefined ? ok(code, `\`gate: ${backend}\` works here`) : ok(`${code}_MISSING`, `\`gate: ${backend}\` does not work here: ${whyNot}`);
}

async function tryGate(settings: Settings, scratch: ScratchNamespace, probes: readonly BackendProbe[]): Promise<Finding> {
  const low = (settings.mark & -settings.mark) >>> 0;
  const gate = createGate({ backend: settings.gate, marks: { mask: settings.mark, transport: low, release: (low << 1) >>> 0, reject: settings.mark }, exec: execIn(scratch) });
  try {
    await gate.install(settings.tunnels.map((tunnel) => ({ ...tunnel, remotes: [] })));
    await gate.remove();
    return ok('GATE', `the gate of this configuration was set in an empty namespace, and removed; backend: ${choiceText(settings.gate, probes)}`);
  } catch (cause) {
    const hint = cause instanceof DaemonError ? cause.hint : undefined;
    return error('GATE_IMPOSSIBLE', `the gate of this configuration can't be set: ${cause instanceof DaemonError ? cause.describe() : messageOf(cause)}`, hint ?? 'choose another backend with `gate`');
  }
}

/** Which backend it is, and why that one. */
export function choiceText(wanted: Settings['gate'], probes: readonly BackendProbe[]): string {
  if (wanted !== 'auto') return `${wanted}, as \`gate: ${wanted}\` says`;
  const chosen = autoChoice(probes);
  if (chosen === 'nft') return `nft, since iptables does not work here (\`gate: auto\`)`;
  return `${chosen ?? 'none'}, which \`gate: auto\` prefers where it works`;
}
