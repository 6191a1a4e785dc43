import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { filter, firstValueFrom, NEVER, Subject } from 'rxjs';
import type { QueueEvent, TunnelEvent } from './core/events.js';
import { joinTunnel, type Step, type TunnelParts } from './core/join.js';
import type { Policy } from './core/policy.js';
import type { ClockPort, LogPort } from './core/ports.js';
import type { State } from './core/state.js';
import { AttachLink } from './link/attach.js';
import { logStep } from './log-step.js';
import { describePacket, headersOf, isStray } from './nfqueue/packet.js';

/** By then V8 has compiled what one wake needs; it takes no longer than the firewall's programs. */
const TIMES = 20;
/** By then also what is worth it only where many wake together: measured, a fifth less time for a hundred. */
const MOST_TIMES = 100;
const policy: Policy = { idleMs: Infinity, holdTimeoutMs: 10_000, lingerMs: 0, backoffStartMs: 1000, backoffMaxMs: 1000, minUpMs: 0, wakesPerHour: Infinity };
/** A SYN of TCP over IPv4. */
const payload = Buffer.from('4500002800004000400600000a4d01020a630001c0001f9000000000000000005002ffff00000000', 'hex');
const packet = { payload, hwProtocol: 0x800, length: payload.length, inDevice: 'lo', uid: undefined };

const nothing = (): undefined => undefined;
const done = (): Promise<void> => Promise.resolve();
const silent: LogPort = { debug: nothing, info: nothing, warn: nothing, error: nothing };

/**
 * Wakes a tunnel that nobody has, and takes it down, again and again, for a daemon with so many: code that runs for the
 * first time takes V8 ten times as long, and the first packet would wait for that. The machine, the link and the
 * management connection are the real ones; queue and gate do nothing, and OpenVPN is played at a socket in `folder`.
 * Never rejects.
 */
export async function rehearse(folder: string, clock: ClockPort, tunnels: number): Promise<void> {
  const path = join(folder, 'rehearsal');
  const openvpn = createServer(playOpenvpn).listen(path);
  const link = new AttachLink({ name: 'rehearsal', device: 'lo', address: { path }, password: undefined, credentials: undefined, remotes: [] }, clock, silent);
  try {
    await once(openvpn, 'listening');
    await wakeAndRest(link, clock, Math.min(Math.max(TIMES, tunnels), MOST_TIMES));
    await link.close();
  } catch {
    // it only would have been better
    void link.close();
  } finally {
    openvpn.close();
  }
}

async function wakeAndRest(link: AttachLink, clock: ClockPort, times: number): Promise<void> {
  const queue$ = new Subject<QueueEvent>();
  const commands$ = new Subject<TunnelEvent>();
  const steps$ = new Subject<Step>();
  const queue: TunnelParts['queue'] = {
    events$: queue$, hold: nothing, remind: nothing, release: () => { queue$.next({ type: 'released', packets: 1 }); }, releaseLocal: done, answer: nothing, drop: nothing, carryOut: nothing, close: done,
    stats: () => ({ packets: 0, oldestMs: 0, held: 0, released: 0, dropped: 0, rejected: 0 }),
  };
  const gate: TunnelParts['gate'] = { events$: NEVER, set: done, expect: nothing, catchFirst: done, keepAddresses: done, mendRoutes: done, route: done, counters: () => Promise.resolve(new Map()), install: done, routes: () => [], look: nothing, held: nothing, unlearned: () => 0, remove: () => Promise.resolve([]) };
  steps$.subscribe((step) => { logStep(step, silent); });
  const running = joinTunnel({ name: 'rehearsal', policy, queue, link, gate, clock, commands$, random: Math.random }).subscribe(steps$);
  // A machine that stood still meanwhile may have failed the dial: nobody is to wait for what won't come.
  const reaches = async (wanted: State['at']): Promise<void> => {
    const { after: { state: { at } } } = await firstValueFrom(steps$.pipe(filter(({ after: { state } }) => state.at === wanted || state.at === 'backoff')));
    if (at !== wanted) throw new Error(`it is ${at}`);
  };
  try {
    await link.start();
    for (let time = 0; time < times; time++) {
      const up = reaches('up');
      const headers = headersOf(packet);
      if (!isStray(packet, headers)) queue$.next({ type: 'packets-held', count: 1, first: describePacket(packet, headers) });
      await up;
      const idle = reaches('idle');
      commands$.next({ type: 'command', command: 'down' });
      await idle;
    }
  } finally {
    running.unsubscribe();
  }
}

/** As much of OpenVPN's part as a wake hears. */
function playOpenvpn(socket: Socket): void {
  const say = (...lines: readonly string[]): void => { socket.write(lines.map((line) => `${line}\r\n`).join('')); };
  const state = (...fields: readonly string[]): string => `>STATE:${[1, ...fields].join(',')}`;
  const hold = '>HOLD:Waiting for hold release:0';
  say('>INFO:OpenVPN Management Interface Version 5', hold);
  socket.on('error', nothing);
  socket.on('data', (data) => {
    for (const command of data.toString().split('\n').filter(Boolean)) {
      if (command === 'hold release') say('SUCCESS: hold release succeeded', ...['WAIT', 'AUTH', 'GET_CONFIG'].map((name) => state(name, '', '', '')), state('CONNECTED', 'SUCCESS', '192.0.2.1', '192.0.2.2', '1194', '', '', '2001:db8::1'));
      else if (command === 'signal SIGUSR1') say('SUCCESS: signal SIGUSR1 thrown', state('RECONNECTING', 'SIGUSR1', '', ''), hold);
      else say(command === 'state' ? 'END' : 'SUCCESS: done');
    }
  });
}
