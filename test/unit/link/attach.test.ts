import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Subject } from 'rxjs';
import type { LinkEvent } from '../../../src/core/events.js';
import type { LogPort } from '../../../src/core/ports.js';
import { AttachLink } from '../../../src/link/attach.js';
import { Credentials, fromEnvironment, SourceProvider } from '../../../src/management/index.js';
import { FakeOpenVpn } from '../management/fake-openvpn.js';

const HOLD = '>HOLD:Waiting for hold release:1\r\n';
const CONNECTED = '>STATE:1,CONNECTED,SUCCESS,10.8.0.2,,,,\r\n';
const NEED = ">PASSWORD:Need 'Auth' username/password\r\n";
const silent = (): void => undefined;
const log: LogPort = { debug: silent, info: silent, warn: silent, error: silent };

/** Nothing but what the test lets happen. */
class Alarm {
  readonly #alarm$ = new Subject<unknown>();
  readonly clock = { now: () => 0, at: () => this.#alarm$ };

  ring(): void {
    this.#alarm$.next(undefined);
  }
}

describe('a link that is attached', () => {
  let openvpn: FakeOpenVpn;
  let link: AttachLink;
  let alarm: Alarm;
  let events: LinkEvent[];

  beforeEach(async () => {
    openvpn = await FakeOpenVpn.start();
    for (const command of ['state on', 'hold on', 'hold release', 'signal SIGUSR1', 'auth-retry interact', 'username "Auth" "joe"', 'password "Auth" "pw"']) openvpn.answers.set(command, 'SUCCESS: done\r\n');
    alarm = new Alarm();
    events = [];
  });

  afterEach(async () => {
    await openvpn.stop();
    alarm.ring();
    await link.close();
  });

  /** Attaches to an OpenVPN that is where it says, and has said so before the link came. */
  async function attach(says: string, state = '', credentials?: Credentials, device = 'lo'): Promise<void> {
    openvpn.answers.set('state', `${state.slice('>STATE:'.length)}END\r\n`);
    link = new AttachLink({ name: 'office', device, address: { path: openvpn.path }, password: undefined, credentials, remotes: [] }, alarm.clock, log);
    link.events$.subscribe((event) => events.push(event));
    await link.start();
    await openvpn.connected();
    openvpn.say(says);
    await heard('state');
    await settled();
  }

  async function heard(line: string, times = 1): Promise<void> {
    while (openvpn.received.filter((each) => each === line).length < times) await new Promise((resolve) => setTimeout(resolve, 1));
  }

  const settled = (): Promise<unknown> => new Promise((resolve) => setTimeout(resolve, 20));
  const types = (): string[] => events.map(({ type }) => type);
  const login = (): Credentials => new Credentials([new SourceProvider({ login: { username: 'joe', password: fromEnvironment('P', { P: 'pw' }) } })]);

  it('releases a hold that was there before it', async () => {
    await attach(HOLD.replace(':1', ':0'));
    link.dial();
    await heard('hold release');
    openvpn.say(CONNECTED);
    await settled();
    expect(events.at(-1)).toEqual({ type: 'link-up', device: 'lo', addresses: { ipv4: '10.8.0.2' } });
  });

  it('a connection without its device is none: what is held is answered, and OpenVPN goes back into hold', async () => {
    await attach(HOLD.replace(':1', ':0'), '', undefined, 'tun7');
    link.dial();
    await heard('hold release');
    openvpn.say(CONNECTED);
    await heard('signal SIGUSR1');
    expect(events.at(-1)).toMatchObject({ type: 'link-down', failure: { code: 'route', detail: expect.stringContaining('there is no device tun7') } });
  });

  it('EXITING is the end of a connection: the process takes some time more', async () => {
    await attach('', CONNECTED);
    openvpn.say('>STATE:2,EXITING,inactive,,,,,\r\n');
    await settled();
    expect(events.slice(1)).toEqual([{ type: 'link-down', reason: 'OpenVPN ended (inactive)' }]);
  });

  it('adopts what is connected, and releases it again when it starts over', async () => {
    await attach('', CONNECTED);
    expect(types()).toEqual(['link-up']);
    openvpn.say(`>STATE:2,RECONNECTING,ping-restart,,,,,\r\n${HOLD.replace(':1', ':0')}`);
    await heard('hold release');
    expect(types()).toEqual(['link-up', 'link-reconnecting']);
  });

  it('takes no CONNECTED for the link being up that crossed the word to start over', async () => {
    await attach('', CONNECTED);
    link.stop();
    openvpn.say(CONNECTED);
    await heard('signal SIGUSR1');
    openvpn.say(`>STATE:2,RECONNECTING,SIGUSR1,,,,,\r\n${HOLD}`);
    await settled();
    expect(types()).toEqual(['link-up', 'link-down']);
    link.stop();
    expect(types()).toEqual(['link-up', 'link-down', 'link-down']);
    expect(openvpn.received.filter((line) => line.startsWith('signal'))).toHaveLength(1);
  });

  it('says that it is down though OpenVPN does not answer', async () => {
    await attach('', CONNECTED);
    link.stop();
    link.stop();
    await settled();
    expect(types()).toEqual(['link-up']);
    alarm.ring();
    expect(types()).toEqual(['link-up', 'link-down']);
    expect(openvpn.received.filter((line) => line.startsWith('signal'))).toHaveLength(1);
  });

  it('answers a question that was there before it, but only when somebody wants the link', async () => {
    await attach(NEED, '', login());
    expect(openvpn.received).not.toContain('username "Auth" "joe"');
    link.dial();
    await heard('password "Auth" "pw"');
  });

  it('fails once where it has no answer, and does not restart what waits for one', async () => {
    await attach(NEED);
    link.dial();
    expect(events).toMatchObject([{ type: 'link-down', failure: { code: 'auth' } }]);
    link.stop();
    expect(types()).toEqual(['link-down', 'link-down']);
    expect(openvpn.received.filter((line) => line.startsWith('signal'))).toEqual([]);
  });

  it('tells a dial why OpenVPN is not there', async () => {
    await attach(HOLD);
    await openvpn.stop();
    await settled();
    link.dial();
    expect(events.at(-1)).toMatchObject({ type: 'link-reconnecting' });
    link.stop();
    expect(events.at(-1)).toMatchObject({ type: 'link-down' });
  });
});
