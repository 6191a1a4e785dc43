import { error, ok, type Finding } from './finding.js';
import type { Machine } from './machine.js';

// linux/capability.h
const CAP_NET_ADMIN = 12n;
const CAP_NET_RAW = 13n;

/** The capabilities of this process; the daemon started the same way has the same. */
export async function checkPrivileges(machine: Machine): Promise<Finding[]> {
  const status = await machine.read('/proc/self/status');
  const mask = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)/m.exec(status ?? '')?.[1] ?? '0'}`);
  const missing = [['CAP_NET_ADMIN', CAP_NET_ADMIN], ['CAP_NET_RAW', CAP_NET_RAW]] as const;
  const names = missing.filter(([, bit]) => ((mask >> bit) & 1n) === 0n).map(([name]) => name);
  if (names.length === 0) return [ok('CAPABILITIES', 'CAP_NET_ADMIN and CAP_NET_RAW are there')];
  return [error('CAPABILITIES_MISSING', `this process is without ${names.join(' and ')}`, 'run it as root, or by the systemd unit, which gives them')];
}
