import { filter, map, Subject, takeWhile, type Observable, type Subscription } from 'rxjs';
import type { LinkEvent } from '../core/events.js';
import type { ClockPort, LinkPort, LogPort } from '../core/ports.js';
import type { Connection, LinkFailure } from '../core/words.js';
import type { ManagementAddress } from '../management/client.js';
import type { Credentials } from '../management/credentials.js';
import type { ManagementEvent } from '../management/events.js';
import { ReconnectingClient, type AttachEvent } from '../management/reconnect.js';
import type { SecretSource } from '../management/sources.js';
import { hasDevice } from './device.js';
import { ManagementWatch, type WatchEvent } from './management-watch.js';
import { whenUsable } from './usable.js';

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

/** `away`: not connected. `resting`: nobody wants it, and it is in hold or on its way there. `dialing`: also while it is away and wanted. */
type Phase = 'away' | 'resting' | 'dialing' | 'connected';

/** For the way back into hold. An OpenVPN that takes longer is stopped or stuck, and gets nothing more from us. */
const REST_MS = 2000;

/**
 * An OpenVPN that somebody else starts, and starts again when it has ended (systemd, procd, a container): it is released
 * from hold, and sent back there. It is never ended, and comes back in hold by `hold on`. One that connects without
 * being asked to, or has before we came, is adopted.
 */
export class AttachLink implements LinkPort {
  readonly #events$ = new Subject<LinkEvent>();
  readonly events$ = this.#events$.asObservable();
  readonly #options: AttachOptions;
  readonly #clock: ClockPort;
  readonly #log: LogPort;
  #connection: ReconnectingClient | undefined;
  #watch: ManagementWatch | undefined;
  #phase: Phase = 'away';
  /** Somebody wants the link up. */
  #wanted = false;
  /** Somebody waits for `link-down`. */
  #owesDown = false;
  #timer: Subscription | undefined;
  #exitReason = '';
  /** Why there is no connection. */
  #absence = 'OpenVPN was not reached yet';

  constructor(options: AttachOptions, clock: ClockPort, log: LogPort) {
    this.#options = options;
    this.#clock = clock;
    this.#log = log;
  }

  get remotes(): readonly string[] {
    return this.#options.remotes;
  }

  start(): Promise<void> {
    const { address, password } = this.#options;
    const connection = ReconnectingClient.start({ ...address, subscriptions: ['hold on'], ...(password ? { password: () => password.read() } : {}) });
    connection.events$.subscribe((event) => { this.#reached(event, connection); });
    this.#connection = connection;
    return Promise.resolve();
  }

  dial(): void {
    this.#wanted = true;
    this.#owesDown = false;
    this.#timer?.unsubscribe();
    if (this.#phase === 'resting') this.#phase = 'dialing';
    // Told when the dial has taken too long.
    if (!this.#watch) this.#events$.next({ type: 'link-reconnecting', reason: this.#absence });
    this.#watch?.want();
  }

  redial(): void {
    if (this.#phase === 'dialing' || this.#phase === 'connected') this.#watch?.restart();
  }

  stop(): void {
    this.#wanted = false;
    this.#watch?.unwant();
    if (!this.#watch || this.#watch.holding || this.#watch.asking) {
      // What is asked is not answered: that is as good as a hold.
      this.#phase = this.#watch ? 'resting' : 'away';
      this.#down('stopped');
      return;
    }
    const underWay = this.#phase === 'resting' && this.#owesDown;
    this.#phase = 'resting';
    this.#owesDown = true;
    if (underWay) return;
    this.#watch.restart();
    this.#timer?.unsubscribe();
    this.#timer = this.#clock.at(this.#clock.now() + REST_MS).subscribe(() => { this.#down(`not back in hold after ${REST_MS} ms`); });
  }

  async close(): Promise<void> {
    // Back to hold: without us nobody would take it down.
    if (this.#watch && (this.#phase !== 'resting' || this.#owesDown)) {
      const rested = new Promise<void>((resolve) => { this.#events$.pipe(filter(({ type }) => type === 'link-down')).subscribe(() => { resolve(); }); });
      this.stop();
      await rested;
    }
    this.#timer?.unsubscribe();
    await this.#connection?.close();
    this.#events$.complete();
  }

  #reached(event: AttachEvent, connection: ReconnectingClient): void {
    if (event.type === 'event') return; // the watch sees them itself
    if (event.type === 'detached') {
      this.#away([event.error.message, event.error.hint].filter(Boolean).join('; '));
      return;
    }
    const { client, state, question } = event;
    this.#log.info({ event: 'link.attached', tunnel: this.#options.name, state: state?.name }, `attached to OpenVPN (${question?.type === 'hold' ? 'in hold' : (state?.name ?? 'starting')})`);
    this.#phase = this.#wanted ? 'dialing' : 'resting';
    this.#watch = new ManagementWatch(client, { device: this.#options.device, credentials: this.#options.credentials, events$: untilDetached(connection.events$), emit: (told) => { this.#see(told); } });
    if (this.#wanted) this.#watch.want();
    if (state) this.#watch.seeState(state);
  }

  #away(reason: string): void {
    this.#log.warn({ event: 'link.detached', tunnel: this.#options.name }, `no connection to OpenVPN's management interface: ${reason}`);
    const before = this.#phase;
    const cause = this.#exitReason === '' ? reason : `OpenVPN ended (${this.#exitReason})`;
    this.#absence = cause;
    this.#exitReason = '';
    this.#phase = 'away';
    this.#watch = undefined;
    if (before === 'connected') this.#down(cause);
    else if (this.#owesDown) this.#down(cause);
    // It may be back in time: whoever runs it starts it again.
    else if (this.#wanted) this.#events$.next({ type: 'link-reconnecting', reason: cause });
  }

  #see(event: WatchEvent): void {
    const tunnel = this.#options.name;
    switch (event.type) {
      case 'held':
        this.#phase = this.#wanted ? 'dialing' : 'resting';
        if (this.#owesDown) this.#down('in hold');
        break;
      case 'connected':
        // That was on its way when we said that it should start over.
        if (!this.#owesDown) this.#connected(event.connection);
        break;
      case 'reconnecting':
        if (!this.#wanted) break;
        this.#phase = 'dialing';
        this.#events$.next({ type: 'link-reconnecting', reason: event.reason });
        break;
      case 'progress':
        if (this.#wanted) this.#events$.next({ type: 'link-progress', step: event.step });
        break;
      case 'failed':
        this.#fail(event.failure);
        break;
      case 'exiting':
        this.#exitReason = event.reason;
        if (this.#phase !== 'connected') break;
        // Its device is gone already; the process itself takes some time more.
        this.#phase = 'resting';
        this.#down(`OpenVPN ended (${event.reason})`);
        break;
      case 'log':
        this.#log.debug({ event: 'openvpn.log', tunnel }, event.line);
        break;
    }
  }

  /** Also where nobody asked: somebody else released it, and packets may use it. */
  #connected(connection: Connection): void {
    this.#phase = 'connected';
    if (!this.#wanted) {
      this.#wanted = true;
      this.#watch?.want();
    }
    this.#timer?.unsubscribe();
    this.#timer = whenUsable(connection, this.#clock).subscribe(() => {
      if (this.#phase !== 'connected') return;
      const { device } = this.#options;
      if (hasDevice(device)) {
        this.#events$.next({ type: 'link-up', ...connection });
        return;
      }
      // What is released would get nowhere.
      const detail = `OpenVPN is connected, but there is no device ${device}: its configuration has to name it, with \`dev ${device}\` and \`dev-type tun\``;
      this.#log.warn({ event: 'link.no_device', tunnel: this.#options.name, device }, detail);
      this.#fail({ code: 'route', detail });
    });
  }

  #fail(failure: LinkFailure): void {
    if (!this.#wanted) return;
    this.#wanted = false;
    this.#phase = 'resting';
    this.#watch?.unwant();
    if (this.#watch && !this.#watch.holding && !this.#watch.asking) this.#watch.restart();
    this.#events$.next({ type: 'link-down', reason: failure.code, failure });
  }

  #down(reason: string): void {
    this.#wanted = false;
    this.#owesDown = false;
    this.#timer?.unsubscribe();
    this.#events$.next({ type: 'link-down', reason });
  }
}

/** What OpenVPN says over the connection that was just attached. */
function untilDetached(events$: Observable<AttachEvent>): Observable<ManagementEvent> {
  return events$.pipe(takeWhile((each) => each.type === 'event'), map(({ event }) => event));
}
