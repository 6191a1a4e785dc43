import type { GatePort } from '../../../src/core/ports.js';
import { createGate, type Backend, type GateOptions } from '../../../src/gate/gate.js';
import { domainSet, tunnelId } from '../../../src/gate/names.js';
import { nftTable } from '../../../src/gate/nft.js';
import { marks, RouterLab } from './router-lab.js';

/** A gate on the router of a lab. */
export interface KernelGate {
  readonly lab: RouterLab;
  readonly gate: GatePort;
  /** One more on the same router, as another process would have it. */
  another(options?: Partial<GateOptions>): GatePort;
  /** What dnsmasq does when a domain of that tunnel is found to stand for an address. */
  resolve(tunnel: string, address: string): Promise<void>;
  /** Gives back what is held and takes everything away: after each test. */
  clear(): Promise<void>;
}

export async function kernelGate(backend: Backend): Promise<KernelGate> {
  const lab = await RouterLab.create();
  // these would bring back what the others remove
  const watching: GatePort[] = [];
  const another = (options: Partial<GateOptions> = {}): GatePort => {
    const made = createGate({ backend, marks, exec: lab.exec, ...options });
    if (options.watch === true) watching.push(made);
    return made;
  };
  const gate = another();
  return {
    lab,
    gate,
    another,
    resolve: async (tunnel, address) => {
      const set = domainSet(tunnelId(tunnel), address.includes(':') ? 6 : 4);
      if (backend === 'nft') await lab.router.run('nft', ['add', 'element', ...nftTable.split(' '), set, `{ ${address} }`]);
      else await lab.router.run('ipset', ['add', set, address, '-exist']);
    },
    clear: async () => {
      await lab.release({ accept: false });
      for (const made of [...watching.splice(0), gate]) await made.remove();
    },
  };
}
