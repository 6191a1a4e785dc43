import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { Subject } from 'rxjs';
import { messageOf } from '../core/errors.js';
import type { LinkEvent } from '../core/events.js';
import type { ClockPort, LinkPort, LogPort } from '../core/ports.js';
import { CommandProcess, type CommandEnd } from './command-process.js';
import { addressesBefore, addressesOn, addressesThatCame, hasDevice } from './device.js';

export interface CommandOptions {
  readonly name: string;
  /** What the link goes through. It may be there before `up` and after `down`, as the device of a host route is. */
  readonly device: string;
  /** Program and arguments; no shell. */
  readonly up: readonly string[];
  readonly down: readonly string[];
  /** `exit`: the link is up when `up` has ended with status 0. `signal`: when `ready()` is called. */
  readonly ready: 'exit' | 'signal';
  /** Addresses that the link itself must reach outside of it (a WireGuard endpoint). */
  readonly remotes: readonly string[];
  /** A `down` that takes longer is ended. */
  readonly downTimeoutMs: number;
  /** A file that is there from `up` until `down` is through: after a `kill -9` the next start knows what to take down. */
  readonly marker: string;
}

type Phase =
  | { readonly at: 'none' }
  | { readonly at: 'starting'; readonly process: CommandProcess; /** Of the device, without the link. */ readonly before: readonly string[] }
  /** With `ready: signal` the command may run on for as long as the link is up (pppd nodetach). */
  | { readonly at: 'up'; readonly process: CommandProcess }
  | { readonly at: 'ending'; readonly done: Promise<void> };

/** How `down` is run: `warn` tells when it fails, `quiet` does not since there may be nothing to take down. */
type Down = 'warn' | 'quiet' | 'no';

/** A link of any two commands: one brings it up, the other takes it down. */
export class CommandLink implements LinkPort {
  readonly #events$ = new Subject<LinkEvent>();
  readonly events$ = this.#events$.asObservable();
  readonly #options: CommandOptions;
  readonly #clock: ClockPort;
  readonly #log: LogPort;
  #phase: Phase = { at: 'none' };
  /** Somebody wants the link up. */
  #wanted = false;
  /** Somebody waits for `link-down`. */
  #owesDown = false;
  #closed = false;

  constructor(options: CommandOptions, clock: ClockPort, log: LogPort) {
    this.#options = options;
    this.#clock = clock;
    this.#log = log;
  }

  get remotes(): readonly string[] {
    return this.#options.remotes;
  }

  /** It reads no files. */
  isCurrent(): Promise<boolean> {
    return Promise.resolve(true);
  }

  /** Takes down what a daemon that was killed has left up. */
  async start(): Promise<void> {
    if (!existsSync(this.#options.marker)) return;
    this.#log.warn({ event: 'link.left_up', tunnel: this.#options.name }, 'an earlier run did not take the link down: doing it now');
    await this.#ending(undefined, 'quiet');
  }

  dial(): void {
    if (this.#closed) return;
    this.#wanted = true;
    this.#owesDown = false;
    if (this.#phase.at === 'none') this.#up();
  }

  redial(): void {
    const phase = this.#phase;
    // Still wanted: `up` follows at the end.
    if (this.#wanted && (phase.at === 'starting' || phase.at === 'up')) void this.#ending(phase.process, 'quiet');
  }

  stop(): void {
    this.#wanted = false;
    this.#owesDown = true;
    const phase = this.#phase;
    if (phase.at === 'none') this.#settled();
    else if (phase.at !== 'ending') void this.#ending(phase.process, phase.at === 'up' ? 'warn' : 'quiet');
  }

  /** The command, or something that it started, says that the link is up. False if nothing waited for that. */
  ready(): boolean {
    if (this.#phase.at !== 'starting' || this.#options.ready !== 'signal') return false;
    void this.#connected(this.#phase);
    return true;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#wanted = false;
    this.#owesDown = false;
    const phase = this.#phase;
    if (phase.at === 'ending') await phase.done;
    else if (phase.at !== 'none') await this.#ending(phase.process, phase.at === 'up' ? 'warn' : 'quiet');
    this.#events$.complete();
  }

  #up(): void {
    const { device, up } = this.#options;
    const before = addressesBefore(device);
    this.#mark();
    const process = this.#run(up);
    this.#phase = { at: 'starting', process, before };
    void process.ended.then((end) => { this.#ended(process, end); });
  }

  #ended(process: CommandProcess, end: CommandEnd): void {
    const phase = this.#phase;
    if ((phase.at !== 'starting' && phase.at !== 'up') || phase.process !== process) return;
    const { name, device, ready } = this.#options;
    this.#log.debug({ event: 'link.command_ended', tunnel: name }, end.detail);
    if (end.how !== 'done') {
      // A command that said no has cleaned up behind itself, and what it met may be somebody else's.
      if (phase.at === 'starting') this.#lost(process, end, end.how === 'killed' ? 'quiet' : 'no');
      else this.#lost(process, { ...end, how: 'done' }, 'quiet'); // it was up, however it ended: no dial has failed
    } else if (phase.at === 'up') {
      // A script has done its work when it has called ready; the end of a program that is the link takes its device along.
      if (!hasDevice(device)) this.#lost(process, end, 'quiet');
    } else if (ready === 'exit') {
      void this.#connected(phase);
    }
  }

  async #connected(phase: Phase & { at: 'starting' }): Promise<void> {
    const { device } = this.#options;
    const addresses = addressesThatCame(phase.before, await addressesOn(device));
    if (this.#phase !== phase) return;
    if (!hasDevice(device)) {
      this.#lost(phase.process, { how: 'failed', detail: `it is ready, but there is no device ${device}` }, 'quiet');
      return;
    }
    this.#phase = { at: 'up', process: phase.process };
    this.#events$.next({ type: 'link-up', device, addresses });
  }

  #lost(process: CommandProcess, { how, detail }: CommandEnd, down: Down): void {
    this.#wanted = false;
    void this.#ending(process, down);
    this.#events$.next({ type: 'link-down', reason: detail, ...(how === 'done' ? {} : { failure: { code: 'exit', detail } }) });
  }

  #ending(process: CommandProcess | undefined, down: Down): Promise<void> {
    const done = this.#end(process, down);
    this.#phase = { at: 'ending', done };
    return done;
  }

  async #end(process: CommandProcess | undefined, down: Down): Promise<void> {
    await process?.end();
    if (down !== 'no') await this.#down(down);
    process?.forget();
    this.#unmark();
    this.#phase = { at: 'none' };
    this.#settled();
  }

  async #down(how: Down): Promise<void> {
    const { name, down, downTimeoutMs } = this.#options;
    const process = this.#run(down);
    const deadline = this.#clock.at(this.#clock.now() + downTimeoutMs).subscribe(() => { void process.end(); });
    const end = await process.ended;
    const late = deadline.closed;
    deadline.unsubscribe();
    process.forget();
    if (end.how === 'done') return;
    const detail = late ? `${end.detail} (it took longer than ${downTimeoutMs} ms)` : end.detail;
    const fields = { event: 'link.down_failed', tunnel: name };
    if (how === 'quiet') this.#log.debug(fields, detail);
    else this.#log.warn(fields, `the command that takes the link down failed: ${detail}`);
  }

  /** Nothing is left of the link: what is wanted now? */
  #settled(): void {
    if (this.#wanted) {
      this.#up();
    } else if (this.#owesDown) {
      this.#owesDown = false;
      this.#events$.next({ type: 'link-down', reason: 'stopped' });
    }
  }

  #run(argv: readonly string[]): CommandProcess {
    const { name, device } = this.#options;
    this.#log.debug({ event: 'link.command', tunnel: name, argv }, argv.join(' '));
    const output = (line: string): void => { this.#log.debug({ event: 'link.output', tunnel: name, line }, line); };
    return CommandProcess.start({ argv, env: { OPENVPN_ONDEMAND_TUNNEL: name, OPENVPN_ONDEMAND_DEVICE: device }, output }, this.#clock);
  }

  #unmark(): void {
    try {
      rmSync(this.#options.marker, { force: true });
    } catch (error) {
      this.#log.warn({ event: 'link.still_marked', tunnel: this.#options.name }, `the next start takes down what is down already: ${messageOf(error)}`);
    }
  }

  #mark(): void {
    try {
      // Never through a link that somebody else has put there.
      writeFileSync(this.#options.marker, '', { flag: 'wx', mode: 0o600 });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') this.#log.warn({ event: 'link.not_marked', tunnel: this.#options.name }, `a kill of this daemon would leave the link up: ${messageOf(error)}`);
    }
  }
}
