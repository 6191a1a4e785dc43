import { gateContract } from '../../contract/gate/contract.js';
import { kernelWorld } from '../../contract/gate/kernel-world.js';

gateContract('nft', () => kernelWorld('nft'));
