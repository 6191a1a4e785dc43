import { gateContract } from '../../contract/gate/contract.js';
import { kernelWorld } from '../../contract/gate/kernel-world.js';
import { leftoversContract } from '../../contract/gate/leftovers-contract.js';
import { netfilterContract } from '../../contract/gate/netfilter-contract.js';

gateContract('condition', () => kernelWorld('condition'));
netfilterContract('condition');
leftoversContract('condition');
