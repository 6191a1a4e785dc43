import { existsSync, readFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { execa } from 'execa';
import type { Addresses } from '../core/words.js';

/**
 * The addresses of a device that is up already, without the cost of a process: what it has before the link is there.
 * getifaddrs(3) names an IPv4 address by its label, DEVICE or DEVICE:LABEL.
 */
export function addressesBefore(device: string): readonly string[] {
  const named = Object.entries(networkInterfaces()).filter(([name]) => name === device || name.startsWith(`${device}:`));
  return named.flatMap(([, found]) => found ?? []).map(({ address }) => address);
}

/** The addresses of a device, also of one that came this moment; none if there is no such device. Never rejects. */
export async function addressesOn(device: string): Promise<readonly string[]> {
  const { stdout, exitCode } = await execa('ip', ['-json', 'addr', 'show', 'dev', device], { reject: false });
  return exitCode === 0 ? parseAddresses(stdout) : [];
}

/** From `ip -json addr show dev DEVICE`, link-local ones left out. */
export function parseAddresses(json: string): readonly string[] {
  const links = JSON.parse(json) as readonly { readonly addr_info?: readonly { readonly scope?: string; readonly local?: string }[] }[];
  return links.flatMap(({ addr_info: infos }) => infos ?? []).flatMap(({ scope, local }) => (scope === 'link' || local === undefined ? [] : [local]));
}

/** The first of each family among `now` that was not there `before`: what came with the link. */
export function addressesThatCame(before: readonly string[], now: readonly string[]): Addresses {
  const came = now.filter((address) => !before.includes(address));
  const ipv4 = came.find((address) => !address.includes(':'));
  const ipv6 = came.find((address) => address.includes(':'));
  return { ...(ipv4 === undefined ? {} : { ipv4 }), ...(ipv6 === undefined ? {} : { ipv6 }) };
}

/** Whether this process' network namespace has a device of that name. */
export function hasDevice(device: string): boolean {
  // The list of all devices may be long; with IPv6 most have a file of their own as long as they are there.
  return existsSync(`/proc/self/net/dev_snmp6/${device}`) || readFileSync('/proc/self/net/dev', 'utf8').split('\n').some((line) => line.trimStart().startsWith(`${device}:`));
}

/** IFA_F_TENTATIVE of linux/if_addr.h. */
const TENTATIVE = 0x40;

/**
 * Whether an IPv6 address of the device can't be used yet: also where no duplicate can be, as on a tun device, the
 * kernel finds that out in a work queue, and until then MASQUERADE takes an address of another device.
 */
export function hasTentativeAddress(device: string, inet6 = readInet6()): boolean {
  return inet6.split('\n').some((line) => {
    const [, , , , flags = '', name] = line.trim().split(/\s+/);
    return name === device && (Number.parseInt(flags, 16) & TENTATIVE) !== 0;
  });
}

/** proc(5): address, device number, prefix length, scope, flags, device name; the file is not there without IPv6. */
function readInet6(): string {
  try {
    return readFileSync('/proc/self/net/if_inet6', 'utf8');
  } catch {
    return '';
  }
}
