import { autoChoice, probeBackends } from './gate.js';
import { domainSet, tunnelId } from './names.js';
import { nftTable } from './nft.js';

/** dnsmasq's options (dnsmasq(8)). */
export type DnsmasqOption = 'ipset' | 'nftset';

/** Which of them fills the sets of a gate; of `auto`, as this machine has it. Undefined: no gate works here. */
export async function dnsmasqOption(gate: 'auto' | 'iptables' | 'nft' | 'condition'): Promise<DnsmasqOption | undefined> {
  const backend = gate === 'auto' ? autoChoice(await probeBackends()) : gate;
  return backend && (backend === 'nft' ? 'nftset' : 'ipset');
}

/** What dnsmasq's configuration needs for a tunnel. A line for each domain: it reads a thousand characters of each. */
export function dnsmasqLines({ name, domains }: { readonly name: string; readonly domains: readonly string[] }, option: DnsmasqOption): readonly string[] {
  const id = tunnelId(name);
  const nftSet = (family: 4 | 6): string => `${family}#${nftTable.replace(' ', '#')}#${domainSet(id, family)}`;
  const sets = ([4, 6] as const).map((family) => (option === 'ipset' ? domainSet(id, family) : nftSet(family)));
  return domains.map((domain) => `${option}=/${domain}/${sets.join(',')}`);
}
