import { gateContract } from './contract.js';
import { kernelWorld } from './kernel-world.js';
import { netfilterContract } from './netfilter-contract.js';

for (const backend of ['iptables-legacy', 'iptables-nft'] as const) {
  gateContract(backend, () => kernelWorld(backend));
  netfilterContract(backend);
}
