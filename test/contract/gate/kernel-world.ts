import type { Backend } from '../../../src/gate/gate.js';
import type { World } from './contract.js';
import { kernelGate } from './kernel-gate.js';

/** An answer that takes longer is none. On an emulated machine everything takes longer. */
const patienceS = 0.3 * Number(process.env['OOD_PATIENCE'] ?? 1);

/** A real gate on the router of a lab of its own. */
export async function kernelWorld(backend: Backend): Promise<World> {
  const { lab, gate, resolve } = await kernelGate(backend);
  const resolved = new Set<string>();
  return {
    gate,
    where: (from, to) => lab.where(from, { to }),
    connect: async (from, to) => ((await lab.fate(from, { to, kind: 'tcp', timeout: patienceS }, 0)).outcome === 'ECONNREFUSED' ? 'refused' : 'silence'),
    resolve: async ({ name }, address) => {
      await resolve(name, address);
      resolved.add(address);
    },
    linkUp: async ({ name, device }) => {
      await lab.linkUp(device, gate.routes(name));
      await lab.noNeighbours(device, [...resolved]);
    },
    linkDown: ({ device }) => lab.linkDown(device),
    dispose: () => lab.dispose(),
  };
}
