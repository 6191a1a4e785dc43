import type { Settings } from '../../../config/load.js';
import { flowtablesBy } from '../../../host/flowtables.js';
import { error, ok, warning, type Finding } from './finding.js';
import type { Machine } from './machine.js';

const ipv4 = '/proc/sys/net/ipv4';
const ipv6 = '/proc/sys/net/ipv6';

/** Kernel parameters and features that change where packets go. */
export async function checkNetwork(machine: Machine, settings: Settings | undefined): Promise<Finding[]> {
  const wantsIpv6 = settings?.tunnels.some(({ protect }) => protect.some((prefix) => prefix.includes(':'))) ?? false;
  const [reversePath, forwarding, disabled, flowtables] = await Promise.all([checkReversePath(machine), checkForwarding(machine, wantsIpv6), wantsIpv6 ? checkIpv6(machine) : [], checkFlowtables(machine, settings?.offload)]);
  return [...reversePath, ...forwarding, ...disabled, ...flowtables];
}

async function flag(machine: Machine, path: string): Promise<number | undefined> {
  const text = await machine.read(path);
  return text === undefined ? undefined : Number(text.trim());
}

/** A device has the larger of its own value and that of `all`; a tunnel device starts with that of `default`. */
async function checkReversePath(machine: Machine): Promise<Finding[]> {
  const values = await Promise.all(['all', 'default'].map((scope) => flag(machine, `${ipv4}/conf/${scope}/rp_filter`)));
  const effective = Math.max(...values.map((value) => value ?? 0));
  if (effective !== 1) return [ok('RP_FILTER', `reverse path filtering is ${effective === 0 ? 'off' : 'loose'} for tunnel devices`)];
  return [warning('RP_FILTER_STRICT', 'reverse path filtering is strict: replies that are under way when a tunnel goes down are dropped', 'sysctl -w net.ipv4.conf.all.rp_filter=2')];
}

async function checkForwarding(machine: Machine, wantsIpv6: boolean): Promise<Finding[]> {
  const four = await flag(machine, `${ipv4}/ip_forward`);
  const six = await flag(machine, `${ipv6}/conf/all/forwarding`);
  if (four === 1 && six !== 1 && wantsIpv6) {
    return [warning('FORWARDING_IPV4_ONLY', 'this machine forwards IPv4 and not IPv6: hosts behind it reach IPv6 prefixes in `protect` neither through a tunnel nor without', 'sysctl -w net.ipv6.conf.all.forwarding=1')];
  }
  if (four === 1) return [ok('FORWARDING', `this machine forwards IPv4${six === 1 ? ' and IPv6' : ''}: hosts behind it wake tunnels, too`)];
  return [ok('FORWARDING_OFF', 'this machine does not forward IPv4: its own programs wake tunnels, hosts behind it can\'t (net.ipv4.ip_forward)')];
}

async function checkIpv6(machine: Machine): Promise<Finding[]> {
  const off = await Promise.all(['all', 'default', 'lo'].map((scope) => flag(machine, `${ipv6}/conf/${scope}/disable_ipv6`)));
  if (off.every((value) => value === 0)) return [ok('IPV6', 'IPv6 is on')];
  return [error('IPV6_OFF', '`protect` has IPv6 prefixes, and IPv6 is switched off', 'sysctl -w net.ipv6.conf.{all,default,lo}.disable_ipv6=0, or take the prefixes out')];
}

/** Packets of an offloaded flow pass no hook that holds, guards or counts (Documentation/networking/nf_flowtable.rst). */
async function checkFlowtables(machine: Machine, offload: Settings['offload'] = 'refuse'): Promise<Finding[]> {
  const runs = { some: false };
  const found = await flowtablesBy(async (program, args) => {
    const told = await machine.run(program, args);
    runs.some ||= told?.succeeded === true;
    return told?.succeeded === true ? told.stdout : undefined;
  });
  if (!runs.some) return [];
  if (found.length === 0) return [ok('FLOWTABLES', 'no flowtable takes packets past the firewall')];
  const names = found.map(({ table, name }) => `${name} (table ${table})`).join(', ');
  const hardware = found.some((table) => table.hardware);
  if (offload === 'refuse') return [error('FLOWTABLES', `what flowtable ${names} forwards is never seen by the gate: the daemon does not start`, `switch flow offloading off (OpenWrt: uci set firewall.@defaults[0].flow_offloading=0), or set \`offload: end\``)];
  if (hardware) return [error('FLOWTABLES_HARDWARE', `flowtable ${names} lets hardware forward packets, which the kernel can't end at once: the daemon does not start`, 'switch hardware offloading off (`flags offload` in nft; OpenWrt: uci set firewall.@defaults[0].flow_offloading_hw=0)')];
  const conntrack = await machine.run('conntrack', ['--version']);
  if (conntrack === undefined) return [error('CONNTRACK_MISSING', '`offload: end` needs conntrack, which was not found', 'install it; in Debian: apt install conntrack')];
  return [ok('FLOWTABLES', `what flowtable ${names} forwards to protected prefixes ends whenever a gate closes`)];
}
