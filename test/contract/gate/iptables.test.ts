import { gateContract } from './contract.js';
import { kernelWorld } from './kernel-world.js';
import { netfilterContract } from './netfilter-contract.js';

gateContract('iptables', () => kernelWorld('iptables-legacy'));
netfilterContract('iptables-legacy');
netfilterContract('iptables-nft');
