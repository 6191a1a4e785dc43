import type { Backend } from '../../../src/gate/gate.js';
import type { World } from './contract.js';
import { kernelGate } from './kernel-gate.js';

/** A real gate on the router of a lab of its own. */
export async function kernelWorld(backend: Backend): Promise<World> {
  const { lab, gate } = await kernelGate(backend);
  return {
    gate,
    where: (from, to) => lab.where(from, { to }),
    connect: async (from, to) => ((await lab.fate(from, { to, kind: 'tcp', timeout: 0.3 }, 0)).outcome === 'ECONNREFUSED' ? 'refused' : 'silence'),
    linkUp: ({ name, device }) => lab.linkUp(device, gate.routes(name)),
    linkDown: ({ device }) => lab.linkDown(device),
    dispose: () => lab.dispose(),
  };
}
