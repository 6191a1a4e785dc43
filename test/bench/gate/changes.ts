import type { Gate } from '../../../src/core/ports.js';
import type { Backend } from '../../../src/gate/gate.js';
import { sleep } from '../nfqueue/machine.js';
import type { Programs } from '../nfqueue/programs.js';
import { GateLab, protectedHost, withPrefixes, withTunnels } from './gate-lab.js';

/** Every change that there is. */
const way: readonly Gate[] = ['open', 'hold', 'reject', 'hold', 'bypass', 'open', 'reject', 'open', 'bypass', 'reject', 'bypass', 'hold'];
const withoutBypass = way.filter((gate) => gate !== 'bypass');
const manyPrefixes = 100_000;
const fewTunnels = 5;
const packets = 1000;

export interface ChangeFigures {
  /** Until the trap is set: sets, rules and catch routes. */
  readonly loadMs: number;
  /** The slowest of many changes to and from hold, open and reject. */
  readonly worstMs: number;
  /** To and from bypass, which takes the catch routes away and brings them back. */
  readonly bypassMs: number;
}

/** With a hundred thousand prefixes. */
export async function measureChanges(backend: Backend, programs: Programs, rounds = 5): Promise<ChangeFigures> {
  const lab = await GateLab.create(programs);
  try {
    const gate = lab.gate(backend);
    const timed = async (change: () => Promise<unknown>): Promise<number> => {
      const begin = performance.now();
      await change();
      return performance.now() - begin;
    };
    const loadMs = await timed(() => gate.install(withPrefixes(manyPrefixes)));
    const changes: number[] = [];
    for (let round = 0; round < rounds; round++) for (const to of withoutBypass) changes.push(await timed(() => gate.set('t0', to)));
    const bypassMs = Math.max(await timed(() => gate.set('t0', 'bypass')), await timed(() => gate.set('t0', 'hold')));
    await gate.remove();
    return { loadMs, worstMs: Math.max(...changes), bypassMs };
  } finally {
    await lab.dispose();
  }
}

/** How many of a thousand held packets are lost while every gate of every tunnel changes, theirs last of all. */
export async function lostWhileChanging(backend: Backend, programs: Programs): Promise<number> {
  const lab = await GateLab.create(programs);
  try {
    const gate = lab.gate(backend);
    const tunnels = withTunnels(fewTunnels);
    await gate.install(tunnels);
    const queue = await lab.queue(tunnels[0]!.queue, 4096);
    await lab.send(protectedHost, packets);
    await sleep(200);
    for (const { name } of [...tunnels].reverse()) for (const to of way) await gate.set(name, to);
    await gate.install(withTunnels(fewTunnels + 1)); // as a reload does
    await gate.set('t0', 'open');
    const before = await lab.arrived();
    await queue.release(queue.heldIds(), { verdict: 'accept', mark: 0x00800000 });
    await sleep(200);
    const lost = packets - ((await lab.arrived()) - before);
    await queue.close();
    await gate.remove();
    return lost;
  } finally {
    await lab.dispose();
  }
}
