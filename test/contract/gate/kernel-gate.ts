import type { GatePort } from '../../../src/core/ports.js';
import { createGate, type Backend, type GateOptions } from '../../../src/gate/gate.js';
import { marks, RouterLab } from './router-lab.js';

/** A gate on the router of a lab. */
export interface KernelGate {
  readonly lab: RouterLab;
  readonly gate: GatePort;
  /** One more on the same router, as another process would have it. */
  another(options?: Partial<GateOptions>): GatePort;
  /** Gives back what is held and takes everything away: after each test. */
  clear(): Promise<void>;
}

export async function kernelGate(backend: Backend): Promise<KernelGate> {
  const lab = await RouterLab.create();
  const another = (options: Partial<GateOptions> = {}): GatePort => createGate({ backend, marks, exec: { prefix: lab.prefix }, ...options });
  const gate = another();
  return {
    lab,
    gate,
    another,
    clear: async () => {
      await lab.release({ accept: false });
      await gate.remove();
    },
  };
}
