import { PacketView, type Frame } from './packet.js';
import { RECORD_WORDS, WORD } from './records.js';

/** A burst of packets, one at least, oldest first, valid during the listener's call only (see PacketView). */
export class PacketBatch implements Iterable<PacketView> {
  readonly #frame: Frame;
  readonly #views: PacketView[] = [];
  #from = 0;
  #to = 0;
  #taken = 0;

  constructor(frame: Frame) {
    this.#frame = frame;
  }

  get length(): number {
    return this.#to - this.#from;
  }

  /** Id of the oldest. */
  get firstId(): number {
    return this.#view(this.#from).id;
  }

  /** Id of the newest: `queue.verdictUpTo(batch.lastId, …)` settles the burst and what is older. */
  get lastId(): number {
    return this.#view(this.#to - 1).id;
  }

  /** As Array.prototype.at. */
  at(index: number): PacketView | undefined {
    const row = index < 0 ? this.#to + index : this.#from + index;
    return row < this.#from || row >= this.#to ? undefined : this.#view(row);
  }

  /** Ids of all packets, oldest first: an array of the caller's own, to keep. */
  ids(): Uint32Array {
    const ids = new Uint32Array(this.length);
    for (let i = 0; i < ids.length; i++) ids[i] = this.#frame.records[(this.#from + i) * RECORD_WORDS + WORD.id] ?? 0;
    return ids;
  }

  *[Symbol.iterator](): Generator<PacketView, undefined, undefined> {
    for (let row = this.#from; row < this.#to; row++) {
      this.#taken = row + 1;
      yield this.#view(row);
    }
  }

  #view(row: number): PacketView {
    return (this.#views[row] ??= new PacketView(this.#frame, row));
  }

  /** @internal A new burst of `count` packets lies in the frame. */
  fill(count: number): void {
    this.#from = 0;
    this.#to = count;
    this.#taken = 0;
  }

  /**
   * @internal After a listener threw: leaves those packets that it had not come to yet. False if there are none, or if it
   * had not begun to iterate.
   */
  skipTaken(): boolean {
    if (this.#taken <= this.#from || this.#taken >= this.#to) return false;
    this.#from = this.#taken;
    return true;
  }
}
