import type { PacketBatch } from './batch.js';
import type { NfQueueError } from './errors.js';
import type { Flushed, Overflow } from './ledger.js';

export interface NfQueueEvents {
  packets: [batch: PacketBatch];
  overflow: [overflow: Overflow];
  flushed: [flushed: Flushed];
  /** The queue is of no use any more, or a listener threw (ERR_LISTENER). */
  error: [error: NfQueueError];
  /** Something is not as it was asked for, but the queue goes on. */
  warning: [warning: NfQueueError];
  close: [];
}
