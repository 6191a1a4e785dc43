import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { Step } from '../core/join.js';
import type { State, Wake } from '../core/state.js';

/** What is read of a tunnel when somebody asks. `TunnelStatus` is one. */
export interface TunnelReading {
  readonly name: string;
  readonly state: State['at'];
  readonly held: { readonly packets: number };
  readonly counters: { readonly held: number; readonly released: number; readonly dropped: number; readonly rejected: number };
  /** Present while somebody else's change of the firewall is not mended. */
  readonly gateBroken?: unknown;
}

const reasons = ['forwarded', 'local', 'command'] as const;

const states = { idle: 0, dialing: 0, up: 0, draining: 0, backoff: 0, locked: 0, paused: 0 } satisfies Record<State['at'], 0>;

/** From a dial on a LAN to one that barely makes it within the default `hold.timeout`. */
const DIAL_SECONDS = [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30];

const PREFIX = 'openvpn_ondemand_';

/**
 * The daemon's numbers in Prometheus' text format. What happens is counted as it happens; what is, is read when
 * somebody asks. No timer, and nothing runs in between.
 */
export class Metrics {
  readonly #registry = new Registry();
  readonly #read: () => readonly TunnelReading[];
  readonly #wakes = this.#counter('wakes_total', 'Times that a tunnel was wanted while it was not up', ['tunnel', 'reason']);
  readonly #failures = this.#counter('dial_failures_total', 'Dials that failed', ['tunnel', 'code']);
  readonly #repairs = this.#counter('gate_repairs_total', 'Times that somebody else took rules or sets of ours away and they were brought back', ['tunnel']);
  readonly #escaped = this.#counter('gate_escaped_packets_total', 'Packets that may have gone in clear until then, at most', ['tunnel']);
  readonly #dial = new Histogram({ name: `${PREFIX}dial_seconds`, help: 'From the wake until OpenVPN was connected', labelNames: ['tunnel'], buckets: DIAL_SECONDS, registers: [this.#registry] });
  readonly #packets = {
    held: this.#counter('packets_held_total', 'Packets that were held', ['tunnel']),
    released: this.#counter('packets_released_total', 'Held packets that went into the tunnel', ['tunnel']),
    dropped: this.#counter('packets_dropped_total', 'Packets that were thrown away: queue full, flushed by the kernel, refused in silence', ['tunnel']),
    rejected: this.#counter('packets_rejected_total', 'Packets that were answered with an error', ['tunnel']),
  };
  readonly #heldNow = this.#gauge('held_packets', 'Packets that are held now', ['tunnel']);
  readonly #state = this.#gauge('state', '1 for the state that the tunnel is in, 0 for the others', ['tunnel', 'state']);

  readonly #broken = this.#gauge('gate_broken', '1 while what somebody else took away does not stand again, else 0', ['tunnel']);

  /** `read` is called once for every answer. */
  constructor(version: string, read: () => readonly TunnelReading[]) {
    this.#read = read;
    this.#gauge('info', 'The version of the daemon', ['version']).set({ version }, 1);
  }

  /** Counts what one event brought about. */
  observe({ tunnel, event, before, after }: Step): void {
    const [wake] = after.history;
    if (wake !== undefined && after.wakes > before.wakes) this.#wakes.inc({ tunnel, reason: reasonOf(wake) });
    if (after.dialFailures > before.dialFailures) this.#failures.inc({ tunnel, code: after.lastFailure?.code ?? 'exit' });
    if (event.type === 'gate-repaired') {
      this.#repairs.inc({ tunnel });
      this.#escaped.inc({ tunnel }, event.escaped);
    }
    // A wake that found the link still up was no dial.
    if (wake?.dialMs !== undefined && before.state.at === 'dialing' && before.history[0]?.dialMs === undefined) this.#dial.observe({ tunnel }, wake.dialMs / 1000);
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  /** Everything, in the text format. */
  async text(): Promise<string> {
    // A reload may have ended a tunnel.
    for (const read of [this.#state, this.#heldNow, this.#broken, ...Object.values(this.#packets)]) read.reset();
    for (const reading of this.#read()) this.#take(reading);
    return this.#registry.metrics();
  }

  #take({ name: tunnel, state, held, counters, gateBroken }: TunnelReading): void {
    for (const each of Object.keys(states)) this.#state.set({ tunnel, state: each }, each === state ? 1 : 0);
    this.#heldNow.set({ tunnel }, held.packets);
    this.#broken.set({ tunnel }, gateBroken === undefined ? 0 : 1);
    for (const kind of ['held', 'released', 'dropped', 'rejected'] as const) this.#packets[kind].inc({ tunnel }, counters[kind]);
    // What has not happened yet is 0, not absent: the first one shall be seen as an increase.
    for (const reason of reasons) this.#wakes.inc({ tunnel, reason }, 0);
    for (const counter of [this.#repairs, this.#escaped]) counter.inc({ tunnel }, 0);
  }

  #counter<Label extends string>(name: string, help: string, labelNames: readonly Label[]): Counter<Label> {
    return new Counter({ name: PREFIX + name, help, labelNames, registers: [this.#registry] });
  }

  #gauge<Label extends string>(name: string, help: string, labelNames: readonly Label[]): Gauge<Label> {
    return new Gauge({ name: PREFIX + name, help, labelNames, registers: [this.#registry] });
  }
}

function reasonOf({ packet }: Wake): (typeof reasons)[number] {
  if (packet === undefined) return 'command';
  return packet.interface === undefined ? 'local' : 'forwarded';
}
