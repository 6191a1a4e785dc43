import { gateContract } from './contract.js';
import { kernelWorld } from './kernel-world.js';
import { leftoversContract } from './leftovers-contract.js';
import { netfilterContract } from './netfilter-contract.js';

// The two kernel interfaces of iptables are given the same rules. So one (Debian's default) has everything that only a
// kernel shows, the other the port's contract and failures.test.ts; `npm run test:long` has everything on both.
gateContract('iptables-legacy', () => kernelWorld('iptables-legacy'));
netfilterContract('iptables-nft');
leftoversContract('iptables-nft');

if (process.env['OOD_LONG'] !== undefined) {
  gateContract('iptables-nft', () => kernelWorld('iptables-nft'));
  netfilterContract('iptables-legacy');
  leftoversContract('iptables-legacy');
}
