import type { Addresses, Gate, LinkFailure, WakePacket } from './words.js';

/** What the queue of a tunnel tells. */
export type QueueEvent =
  | {
      readonly type: 'packets-held';
      /** In this burst. */
      readonly count: number;
      /** The first that may wake, if there is one. */
      readonly first: WakePacket;
      /** The queue's numbers of the burst's packets, if all of them are strays: nobody wants a tunnel for them alone. */
      readonly strays?: readonly number[];
    }
  /** Nothing is held any more; what still arrives is accepted at once. */
  | { readonly type: 'released'; readonly packets: number }
  /** The kernel threw packets away: the queue was full, or its socket was. */
  | { readonly type: 'overflow'; readonly packets: number }
  /** The kernel threw held packets away, with their device or a firewall change of somebody else. */
  | { readonly type: 'flushed'; readonly packets: number }
  | { readonly type: 'queue-failed'; readonly detail: string };

/** What the link of a tunnel tells. */
export type LinkEvent =
  | { readonly type: 'link-up'; readonly device: string; readonly addresses: Addresses }
  /** A step on the way up, by OpenVPN's name (`WAIT`, `AUTH`, `GET_CONFIG`, …). */
  | { readonly type: 'link-progress'; readonly step: string }
  /** The link was up, or was coming up, and starts over by itself. */
  | { readonly type: 'link-reconnecting'; readonly reason: string }
  /** Nothing is left of the link but its standby; without a failure it ended as it should. */
  | { readonly type: 'link-down'; readonly reason: string; readonly failure?: LinkFailure };

/** What the names of a tunnel tell: they were asked for, and what they stand for is protected. */
export interface NamesEvent {
  readonly type: 'names-found';
  /** While the tunnel is up they are to be asked for again: a record's time to live. */
  readonly againAfterMs?: number;
}

/** What the gate tells of itself, to all tunnels at once. */
export type GateEvent =
  /** Somebody else took away what was installed (a firewall reloaded, flushed): it is being brought back. */
  | { readonly type: 'gate-broken' }
  | GateRepaired<ReadonlyMap<string, number>>
  /** It could not be brought back yet; that is tried again. */
  | { readonly type: 'gate-unrepaired'; readonly detail: string };

/** It stands again, every gate where it was. */
export interface GateRepaired<Escaped> {
  readonly type: 'gate-repaired';
  /** Since the kernel told of the first loss; if it told nothing, since all was seen to stand last. */
  readonly afterMs: number;
  /** The kernel told nothing. */
  readonly unheard: boolean;
  /**
   * At most so many packets went in clear meanwhile: all that left by the devices of the default routes, where only the
   * firewall keeps them from that. None, and not named, where the catch routes do.
   */
  readonly escaped: Escaped;
}

/** What a person or a program asks for. */
export type CommandEvent =
  | { readonly type: 'command'; readonly command: 'up' | 'down' | 'resume' }
  /** No tunnel until `resume`, or for so long; meanwhile packets are refused, or, with `bypass`, go in clear. */
  | { readonly type: 'command'; readonly command: 'pause'; readonly forMs?: number; readonly bypass: boolean };

/** What the effects of the machine bring back. */
export type EffectEvent =
  /** The list of effects up to here is done. */
  | { readonly type: 'done'; readonly what: 'opened' }
  | { readonly type: 'done'; readonly what: 'closed'; /** Packets that are still held. */ readonly held: number }
  | { readonly type: 'traffic'; /** Packets in both directions since the gate was installed. */ readonly packets: number }
  | { readonly type: 'effect-failed'; readonly effect: Effect['do']; readonly detail: string };

export type TunnelEvent =
  | QueueEvent
  | LinkEvent
  | NamesEvent
  | CommandEvent
  | EffectEvent
  | Exclude<GateEvent, { readonly type: 'gate-repaired' }>
  | GateRepaired<number>
  /** The network under the tunnel is another one, or the machine slept: what OpenVPN waits for may never come. */
  | { readonly type: 'network'; readonly what: 'changed' | 'resumed' }
  /**
   * The tunnel's device is gone: with its link, or one that starts over, or somebody has deleted it under a link that goes on
   * as if nothing had happened. A moment later it is told whether it is still missing, or back.
   */
  | { readonly type: 'device'; readonly is: 'gone' | 'missing' | 'back' }
  /** Which process sent the packet that woke. */
  | { readonly type: 'waker-found'; readonly process: string }
  /** The deadline of the state has come. */
  | { readonly type: 'clock' };

/**
 * What is to be done, as data. A list is carried out in its order, one by one; when one fails, the rest of its list is
 * dropped and `effect-failed` comes back.
 */
export type Effect =
  | { readonly do: 'dial' }
  /** The dial that is under way, or the link that is up, starts over at once. */
  | { readonly do: 'redial' }
  | { readonly do: 'stop-link' }
  /** Arriving packets are held (again); a release that is under way ends. */
  | { readonly do: 'hold' }
  /** What is held is told of once more. */
  | { readonly do: 'remind' }
  /** Held packets go, oldest first and paced; `released` comes when none is left. */
  | { readonly do: 'release' }
  /** Locally made packets that still have the route into the living tunnel go into it; they would end with its device. */
  | { readonly do: 'release-local' }
  /** Held packets are answered with an error, and so is what still arrives until the next `hold`. */
  | { readonly do: 'answer' }
  /** Of these packets those that are still held are thrown away, and counted. */
  | { readonly do: 'drop'; readonly packets: readonly number[] }
  | { readonly do: 'gate'; readonly gate: Gate }
  /** The gate will soon be this one. */
  | { readonly do: 'expect-gate'; readonly gate: Gate }
  | { readonly do: 'catch-first'; readonly on: boolean }
  | { readonly do: 'keep-addresses'; readonly addresses: Addresses }
  /** What the link does not route into the tunnel device gets its routes. */
  | { readonly do: 'route' }
  /** The names of `protect` are asked for again; `keep`: what they stood for stays protected. */
  | { readonly do: 'look-up'; readonly keep: boolean }
  | { readonly do: 'read-counters' }
  /** What the kernel threw away of what is held is found out. */
  | { readonly do: 'recount' }
  | { readonly do: 'report'; readonly what: 'opened' | 'closed' };
