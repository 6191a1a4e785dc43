import { createGate } from '../../../src/gate/gate.js';
import { gateContract, type World } from './contract.js';
import { netfilterContract } from './netfilter-contract.js';
import { marks, RouterLab } from './router-lab.js';

async function world(backend: 'iptables-legacy' | 'iptables-nft'): Promise<World> {
  const lab = await RouterLab.create();
  return {
    gate: createGate({ backend, marks, exec: { prefix: ['ip', 'netns', 'exec', lab.router.name] } }),
    where: (from, to) => lab.where(from, { to }),
    connect: async (from, to) => ((await lab.fate(from, { to, kind: 'tcp', timeout: 0.3 }, 0)).outcome === 'ECONNREFUSED' ? 'refused' : 'silence'),
    linkUp: ({ device, protect }) => lab.linkUp(device, protect),
    linkDown: ({ device }) => lab.linkDown(device),
    dispose: () => lab.dispose(),
  };
}

gateContract('iptables-legacy', () => world('iptables-legacy'));
gateContract('iptables-nft', () => world('iptables-nft'));
netfilterContract('iptables-legacy');
netfilterContract('iptables-nft');
