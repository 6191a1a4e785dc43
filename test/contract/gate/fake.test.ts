import { FakeGate } from '../../../src/gate/fake.js';
import { gateContract } from './contract.js';
import { marks } from './router-lab.js';

gateContract('fake', () => {
  const gate = new FakeGate({ marks, lans: ['10.77.1.0/24', '198.51.100.0/24', 'fd00:77::/64', '2001:db8::/64'] });
  return Promise.resolve({
    gate,
    where: (from, to) => {
      const fate = gate.fate(from, to, { protocol: 'udp', port: 9, device: 'lan0' });
      return Promise.resolve(fate === 'refused' ? 'nowhere' : fate);
    },
    connect: (from, to) => Promise.resolve(gate.fate(from, to, { protocol: 'tcp', port: 9, device: 'lan0' }) === 'refused' ? 'refused' : 'silence'),
    resolve: ({ name }, address) => {
      gate.resolve(name, address);
      return Promise.resolve();
    },
    linkUp: ({ device }) => Promise.resolve(void gate.devices.add(device)),
    linkDown: ({ device }) => Promise.resolve(void gate.devices.delete(device)),
    dispose: () => Promise.resolve(),
  });
});
