import { writeFileSync } from 'node:fs';
import { getPriority, setPriority } from 'node:os';

/** As urgent as a process may be without being a real-time one (nice(2)). */
const URGENT = -20;

/**
 * Raises the priority of the thread that gives the verdicts while some tunnel opens: a packet that waits for its verdict
 * when the gate opens is overtaken by those behind it. Without CAP_SYS_NICE nothing changes.
 */
export class Urgency {
  readonly #usual = getPriority();
  readonly #holders = new Set<string>();

  /** Some tunnel opens. */
  get raised(): boolean {
    return this.#holders.size > 0;
  }

  /** Nobody opens any more. */
  end(): void {
    for (const holder of [...this.#holders]) this.set(holder, false);
  }

  set(holder: string, urgent: boolean): void {
    const before = this.raised;
    if (urgent) this.#holders.add(holder);
    else this.#holders.delete(holder);
    const after = this.raised;
    if (before === after) return;
    const nice = after ? URGENT : this.#usual;
    wish(() => { setPriority(nice); });
    // Where sessions are scheduled as groups, a nice value only counts inside of one (sched(7), "The autogroup feature").
    wish(() => { writeFileSync('/proc/self/autogroup', String(nice)); });
  }
}

/** Not permitted, or not there: it would have been better, but goes without. */
function wish(action: () => void): void {
  try {
    action();
  } catch {
    // nothing to be told
  }
}
