/** What we keep of a packet that the kernel holds for us. */
export interface HeldPacket {
  readonly id: number;
  readonly mark: number;
  /** Made on this host (held in OUTPUT). */
  readonly local: boolean;
  /** The device that its present route leads to; only OUTPUT has one already. */
  readonly outDevice: string | undefined;
  /** Milliseconds, from the clock. */
  readonly heldAt: number;
}

/** The packets without a verdict, oldest first. */
export class HeldPackets {
  readonly #packets = new Map<number, HeldPacket>();

  get size(): number {
    return this.#packets.size;
  }

  get oldest(): HeldPacket | undefined {
    return this.#packets.values().next().value;
  }

  add(packet: HeldPacket): void {
    this.#packets.set(packet.id, packet);
  }

  has(id: number): boolean {
    return this.#packets.has(id);
  }

  delete(ids: Iterable<number>): void {
    for (const id of ids) this.#packets.delete(id);
  }

  clear(): void {
    this.#packets.clear();
  }

  filter(matches: (packet: HeldPacket) => boolean): HeldPacket[] {
    return [...this.#packets.values()].filter(matches);
  }

  /** Runs of neighbours with the same mark, oldest first: what one verdict can serve. */
  runs(): { readonly mark: number; readonly ids: number[] }[] {
    const runs: { mark: number; ids: number[] }[] = [];
    for (const { id, mark } of this.#packets.values()) {
      const last = runs.at(-1);
      if (last?.mark === mark) last.ids.push(id);
      else runs.push({ mark, ids: [id] });
    }
    return runs;
  }
}
