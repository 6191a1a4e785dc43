import type { Settings } from '../../../config/load.js';
import { error, ok, warning, type Finding } from './finding.js';
import type { Machine } from './machine.js';

// linux/capability.h
const CAP_NET_ADMIN = 12n;
const CAP_NET_RAW = 13n;

/** The capabilities of this process; the daemon started the same way has the same. */
export async function checkPrivileges(machine: Machine, gate: Settings['gate'] = 'auto'): Promise<Finding[]> {
  const status = await machine.read('/proc/self/status');
  const mask = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)/m.exec(status ?? '')?.[1] ?? '0'}`);
  const has = (bit: bigint): boolean => ((mask >> bit) & 1n) === 1n;
  if (!has(CAP_NET_ADMIN)) return [error('CAPABILITIES_MISSING', 'this process is without CAP_NET_ADMIN', 'run it as root, or by the systemd unit, which gives it')];
  // iptables asks for its sets over a raw socket.
  if (!has(CAP_NET_RAW) && gate !== 'nft') return [warning('CAP_NET_RAW_MISSING', 'this process is without CAP_NET_RAW, which the iptables backend needs', 'give it, or choose `gate: nft`')];
  return [ok('CAPABILITIES', `CAP_NET_ADMIN${has(CAP_NET_RAW) ? ' and CAP_NET_RAW are' : ' is'} there`)];
}
