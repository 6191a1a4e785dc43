import { leftoversContract } from '../../contract/gate/leftovers-contract.js';
import { netfilterContract } from '../../contract/gate/netfilter-contract.js';

netfilterContract('condition');
leftoversContract('condition');
