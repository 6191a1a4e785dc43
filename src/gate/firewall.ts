import type { Gate, TrafficCounters } from '../core/ports.js';
import type { Plan } from './plan.js';

/** One way of bringing a plan into the kernel: what a backend does for the gate. Errors are DaemonErrors. */
export interface Firewall {
  /** As `doctor` names it. */
  readonly name: string;
  /** Whether there is anything of ours in the kernel, from whatever run. */
  present(): Promise<boolean>;
  /** Brings the firewall to the plan, every gate at `hold`, whatever is there; never an open moment on the way. */
  install(plan: Plan): Promise<void>;
  /** One atomic change. */
  switchGate(id: string, from: Gate, to: Gate): Promise<void>;
  /** The gate that the kernel has. */
  readGate(id: string): Promise<Gate | undefined>;
  counters(plan: Plan): Promise<ReadonlyMap<string, TrafficCounters>>;
  /** Removes everything of ours but the guard; resolves with a line for each. */
  removeRules(): Promise<readonly string[]>;
  /** Removes the guard and the sets. */
  removeGuard(): Promise<readonly string[]>;
}
