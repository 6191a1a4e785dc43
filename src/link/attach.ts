import { Subject } from 'rxjs';
import type { LinkEvent } from '../core/events.js';
import type { LinkPort, LogPort } from '../core/ports.js';
import type { LinkFailure } from '../core/words.js';
import type { ManagementAddress } from '../management/client.js';
import type { Credentials } from '../management/credentials.js';
import { ReconnectingClient, type AttachEvent } from '../management/reconnect.js';
import type { SecretSource } from '../management/sources.js';
import { ManagementWatch, type WatchEvent } from './management-watch.js';

export interface AttachOptions {
  readonly name: string;
  /** The device that OpenVPN's configuration names. */
  readonly device: string;
  readonly address: ManagementAddress;
  readonly password: SecretSource | undefined;
  readonly credentials: Credentials | undefined;
  /** Addresses of the servers. */
  readonly remotes: readonly string[];
}

/** `away`: not connected. `resting`: in hold, or on its way there. `dialing`: also while it is away and wanted. */
type Phase = 'away' | 'resting' | 'dialing' | 'connected';

/**
 * An OpenVPN that somebody else starts, and starts again when it has ended (systemd, procd, a container): it is released
 * from hold, and sent back there. It is never ended, and comes back in hold by `hold on`.
 */
export class AttachLink implements LinkPort {
  readonly #events$ = new Subject<LinkEvent>();
  readonly events$ = this.#events$.asObservable();
  readonly #options: AttachOptions;
  readonly #log: LogPort;
  #connection: ReconnectingClient | undefined;
  #watch: ManagementWatch | undefined;
  #phase: Phase = 'away';
  /** Somebody wants the link up. */
  #wanted = false;
  /** Somebody waits for `link-down`. */
  #owesDown = false;
  #exitReason = '';

  constructor(options: AttachOptions, log: LogPort) {
    this.#options = options;
    this.#log = log;
  }

  get remotes(): readonly string[] {
    return this.#options.remotes;
  }

  start(): Promise<void> {
    const { address, password } = this.#options;
    this.#connection = ReconnectingClient.start({ ...address, subscriptions: ['hold on'], ...(password ? { password: () => password.read() } : {}) });
    this.#connection.events$.subscribe((event) => { this.#attached(event); });
    return Promise.resolve();
  }

  dial(): void {
    this.#wanted = true;
    this.#owesDown = false;
    if (this.#phase === 'resting') this.#phase = 'dialing';
    this.#watch?.want();
  }

  redial(): void {
    if (this.#phase === 'dialing' || this.#phase === 'connected') this.#watch?.restart();
  }

  stop(): void {
    this.#wanted = false;
    this.#owesDown = true;
    this.#watch?.unwant();
    if (!this.#watch || this.#watch.holding) this.#down('stopped');
    else if (this.#phase !== 'resting') this.#watch.restart();
    if (this.#watch) this.#phase = 'resting';
  }

  async close(): Promise<void> {
    // Back to hold: without us nobody would take it down.
    if (this.#watch && !this.#watch.holding && this.#phase !== 'resting') {
      const rested = new Promise<void>((resolve) => { this.#events$.subscribe({ next: ({ type }) => { if (type === 'link-down') resolve(); } }); });
      this.stop();
      await rested;
    }
    await this.#connection?.close();
    this.#events$.complete();
  }

  #attached(event: AttachEvent): void {
    if (event.type === 'event') return; // the watch sees them itself
    if (event.type === 'detached') {
      this.#away(event.error.message);
      return;
    }
    const { client, state, question } = event;
    this.#log.info({ event: 'link.attached', tunnel: this.#options.name, state: state?.name }, `attached to OpenVPN (${question?.type === 'hold' ? 'in hold' : (state?.name ?? 'starting')})`);
    this.#phase = this.#wanted ? 'dialing' : 'resting';
    this.#watch = new ManagementWatch(client, { device: this.#options.device, credentials: this.#options.credentials, emit: (told) => { this.#see(told); } });
    if (this.#wanted) this.#watch.want();
    if (state) this.#watch.seeState(state);
  }

  #away(reason: string): void {
    this.#log.warn({ event: 'link.detached', tunnel: this.#options.name }, `no connection to OpenVPN's management interface: ${reason}`);
    const before = this.#phase;
    this.#phase = 'away';
    this.#watch = undefined;
    // While dialing it may be back in time: whoever runs it starts it again.
    if (before === 'connected') this.#lost(this.#exitReason || reason);
    else if (this.#owesDown) this.#down(this.#exitReason || reason);
    this.#exitReason = '';
  }

  #see(event: WatchEvent): void {
    const tunnel = this.#options.name;
    switch (event.type) {
      case 'held':
        if (this.#wanted) this.#phase = 'dialing';
        else this.#phase = 'resting';
        if (this.#owesDown) this.#down('in hold');
        break;
      case 'connected':
        // Also where nobody asked: somebody else released it, and packets may use it.
        this.#phase = 'connected';
        this.#wanted = true;
        this.#events$.next({ type: 'link-up', ...event.connection });
        break;
      case 'reconnecting':
        if (this.#wanted) this.#events$.next({ type: 'link-reconnecting', reason: event.reason });
        if (this.#wanted) this.#phase = 'dialing';
        break;
      case 'progress':
        if (this.#wanted) this.#events$.next({ type: 'link-progress', step: event.step });
        break;
      case 'failed':
        this.#fail(event.failure);
        break;
      case 'exiting':
        this.#exitReason = event.reason;
        break;
      case 'log':
        this.#log.debug({ event: 'openvpn.log', tunnel }, event.line);
        break;
    }
  }

  #fail(failure: LinkFailure): void {
    if (!this.#wanted) return;
    this.#wanted = false;
    this.#watch?.unwant();
    if (this.#watch && !this.#watch.holding) this.#watch.restart();
    this.#phase = this.#watch ? 'resting' : 'away';
    this.#events$.next({ type: 'link-down', reason: failure.code, failure });
  }

  #lost(reason: string): void {
    this.#wanted = false;
    this.#owesDown = false;
    this.#events$.next({ type: 'link-down', reason });
  }

  #down(reason: string): void {
    this.#owesDown = false;
    this.#events$.next({ type: 'link-down', reason });
  }
}
