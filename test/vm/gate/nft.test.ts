import { gateContract } from '../../contract/gate/contract.js';
import { kernelWorld } from '../../contract/gate/kernel-world.js';
import { netfilterContract } from '../../contract/gate/netfilter-contract.js';

gateContract('nft', () => kernelWorld('nft'));
netfilterContract('nft');
