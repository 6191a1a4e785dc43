import type { Settings } from '../../../config/load.js';
import { error, ok, warning, type Finding } from './finding.js';
import type { Machine } from './machine.js';

interface Wanted {
  readonly code: string;
  readonly program: string;
  readonly args: readonly string[];
  /** Finds the version in what the program says. */
  readonly version: RegExp;
  /** Debian's package. */
  readonly package: string;
  /** Older ones are not known to work. */
  readonly least?: readonly [number, number];
  /** The backends that need it, if not all do. */
  readonly backend?: 'iptables' | 'nft';
  /** Nothing but this fails without it. */
  readonly serves?: string;
}

const wanted: readonly Wanted[] = [
  { code: 'IP', program: 'ip', args: ['-V'], version: /iproute2-([\d.]+)/, package: 'iproute2', least: [5, 3] },
  { code: 'IPTABLES', program: 'iptables', args: ['-V'], version: /v([\d.]+(?: \(\w+\))?)/, package: 'iptables', least: [1, 6], backend: 'iptables' },
  { code: 'IP6TABLES', program: 'ip6tables', args: ['-V'], version: /v([\d.]+(?: \(\w+\))?)/, package: 'iptables', least: [1, 6], backend: 'iptables' },
  { code: 'IPSET', program: 'ipset', args: ['-v'], version: /ipset v([\d.]+)/, package: 'ipset', least: [6, 30], backend: 'iptables' },
  { code: 'NFT', program: 'nft', args: ['-v'], version: /nftables v([\d.]+)/, package: 'nftables', backend: 'nft' },
  { code: 'CONNTRACK', program: 'conntrack', args: ['-V'], version: /v([\d.]+)/, package: 'conntrack', serves: '`established: kill`: without it connections that are older than the gate keep their NAT' },
];

/**
 * Whether the programs are there, and in what version. `openvpn` holds the names of OpenVPN's program as the tunnels have it;
 * `auto` does with nft where that is all there is.
 */
export async function checkPrograms(machine: Machine, openvpn: readonly string[], gate: Settings['gate'] = 'auto'): Promise<Finding[]> {
  const isThere = async ({ program, args }: Wanted): Promise<boolean> => (await machine.run(program, args)) !== undefined;
  const all = async (backend: Wanted['backend']): Promise<boolean> => (await Promise.all(wanted.filter((each) => each.backend === backend).map(isThere))).every(Boolean);
  const byNft = gate === 'nft' || (gate === 'auto' && !(await all('iptables')) && (await all('nft')));
  const programs = [...wanted, ...openvpn.map((program): Wanted => ({ code: 'OPENVPN', program, args: ['--version'], version: /^OpenVPN (\S+)/, package: 'openvpn', least: [2, 4] }))];
  return Promise.all(programs.map((program) => checkProgram(machine, program, program.backend !== undefined && program.backend !== (byNft ? 'nft' : 'iptables'))));
}

async function checkProgram(machine: Machine, { code, program, args, version, package: name, least, serves }: Wanted, optional: boolean): Promise<Finding> {
  const ran = await machine.run(program, args);
  if (ran === undefined && serves !== undefined) return warning(`${code}_MISSING`, `${program} was not found, which is for ${serves}`, `install it; in Debian: apt install ${name}`);
  if (ran === undefined) {
    return optional ? ok(`${code}_MISSING`, `${program} is not installed, and not needed`) : error(`${code}_MISSING`, `${program} was not found`, `install it; in Debian: apt install ${name}`);
  }
  // OpenVPN before 2.6 tells its version with exit status 1.
  const found = version.exec(ran.stdout)?.[1] ?? version.exec(ran.stderr)?.[1];
  if (found === undefined) return warning(`${code}_UNKNOWN`, `${program} does not tell its version: ${firstLine(ran.stderr || ran.stdout)}`, `is ${program} what it should be?`);
  if (!optional && least !== undefined && isOlder(found, least)) return error(`${code}_OLD`, `${program} ${found} is older than ${least.join('.')}`, `install a newer one; in Debian: apt install ${name}`);
  return ok(code, `${program} ${found}`);
}

function isOlder(version: string, [major, minor]: readonly [number, number]): boolean {
  const [foundMajor = 0, foundMinor = 0] = version.split('.').map((part) => Number.parseInt(part, 10));
  return foundMajor < major || (foundMajor === major && foundMinor < minor);
}

function firstLine(text: string): string {
  return text.split('\n', 1)[0] ?? '';
}
