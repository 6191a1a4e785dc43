import type { EventEmitter } from 'node:events';
import type { PacketBatch } from './batch.js';
import { NfQueueError } from './errors.js';
import type { NfQueueEvents } from './events.js';
import type { Findings, Ledger } from './ledger.js';

type Listener = (batch: PacketBatch) => unknown;

/** Tells a queue's listeners what happened. What they throw is counted and told in turn, and ends nothing. */
export class Teller {
  readonly #queue: EventEmitter<NfQueueEvents>;
  readonly #ledger: Ledger;

  constructor(queue: EventEmitter<NfQueueEvents>, ledger: Ledger) {
    this.#queue = queue;
    this.#ledger = ledger;
  }

  /** Gives `count` packets to every listener. */
  packets(batch: PacketBatch, count: number): void {
    for (const listener of this.#queue.rawListeners('packets')) {
      batch.fill(count);
      // a listener that threw gets those packets that it had not come to
      while (!this.#call(listener, batch) && batch.skipTaken());
    }
  }

  findings({ overflow, flushed }: Findings): void {
    if (overflow !== undefined) this.#guarded('overflow', () => this.#queue.emit('overflow', overflow));
    if (flushed !== undefined) this.#guarded('flushed', () => this.#queue.emit('flushed', flushed));
  }

  /** The same once the caller, who is inside of a call of the queue, has had his answer. */
  findingsLater(findings: Findings): void {
    if (findings.overflow !== undefined || findings.flushed !== undefined) queueMicrotask(() => { this.findings(findings); });
  }

  warning(warning: NfQueueError): void {
    if (this.#queue.listenerCount('warning') === 0) process.emitWarning(warning);
    else this.#guarded('warning', () => this.#queue.emit('warning', warning));
  }

  /** The queue is of no use any more. As with any emitter, the process hears of it if nobody listens. */
  failure(error: NfQueueError): void {
    this.#queue.emit('error', error);
  }

  /** False if the listener threw. */
  #call(listener: Listener, batch: PacketBatch): boolean {
    try {
      const result = listener.call(this.#queue, batch);
      if (result instanceof Promise) result.catch((error: unknown) => { this.#threw('packets', error); });
      return true;
    } catch (error) {
      this.#threw('packets', error);
      return false;
    }
  }

  #guarded(event: string, emit: () => void): void {
    try {
      emit();
    } catch (error) {
      this.#threw(event, error);
    }
  }

  #threw(event: string, cause: unknown): void {
    this.#ledger.count.listenerErrors++;
    const message = cause instanceof Error ? cause.message : String(cause);
    const error = new NfQueueError('ERR_LISTENER', `a listener of '${event}' threw: ${message}`, { cause, hint: 'packets that it did not settle are still held' });
    if (this.#queue.listenerCount('error') > 0) this.#queue.emit('error', error);
    else process.emitWarning(error);
  }
}
