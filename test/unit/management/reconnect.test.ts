import { afterEach, describe, expect, it } from '@jest/globals';
import { ReconnectingClient, Secret, type AttachEvent, type Clock, type ReconnectOptions } from '../../../src/management/index.js';
import { FakeOpenVpn, GREETING } from './fake-openvpn.js';

const cleanUps: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

const STATE_ON = 'SUCCESS: real-time state notification set to ON\r\n';
const CONNECTED = 'CONNECTED,SUCCESS,10.8.0.2,127.0.0.1,1194,,';

async function openvpn(greeting = GREETING, state = `7,${CONNECTED}\r\n`): Promise<FakeOpenVpn> {
  const fake = await FakeOpenVpn.start(greeting);
  fake.answers.set('state on', STATE_ON).set('state', `${state}END\r\n`);
  cleanUps.push(() => fake.stop());
  return fake;
}

class Watched {
  readonly events: AttachEvent[] = [];
  readonly client: ReconnectingClient;

  constructor(options: ReconnectOptions) {
    this.client = ReconnectingClient.start(options);
    this.client.events$.subscribe((event) => this.events.push(event));
    cleanUps.push(() => this.client.close());
  }

  of<T extends AttachEvent['type']>(type: T): Extract<AttachEvent, { type: T }>[] {
    return this.events.filter((event): event is Extract<AttachEvent, { type: T }> => event.type === type);
  }

  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

describe('ReconnectingClient', () => {
  it('subscribes, asks for the state, and says both before any event', async () => {
    const fake = await openvpn();
    const watched = new Watched({ path: fake.path, subscriptions: ['bytecount 5'] });
    fake.answers.set('bytecount 5', 'SUCCESS: bytecount interval changed\r\n');
    await watched.until(() => watched.of('event').length > 0);
    expect(fake.received).toEqual(['state on', 'bytecount 5', 'state']);
    expect(watched.events[0]).toMatchObject({ type: 'attached', state: { name: 'CONNECTED', tunIpv4: '10.8.0.2' } });
    expect(watched.client.client).toBeDefined();
  });

  it('does not take the CONNECTED of before a hold for today’s', async () => {
    const fake = await openvpn(`${GREETING}>HOLD:Waiting for hold release:0\r\n`);
    const watched = new Watched({ path: fake.path });
    await watched.until(() => watched.of('attached').length > 0);
    expect(watched.of('attached')[0]).toMatchObject({ question: { type: 'hold' } });
    expect(watched.of('attached')[0]).not.toHaveProperty('state');
  });

  it('drops state lines that are older than the state that it was told', async () => {
    const fake = await openvpn();
    fake.answers.set('state on', `${STATE_ON}>STATE:6,GET_CONFIG,,,,,,\r\n>STATE:7,${CONNECTED}\r\n`).set('state', `7,${CONNECTED}\r\nEND\r\n>STATE:8,RECONNECTING,SIGUSR1,,,,,\r\n`);
    const watched = new Watched({ path: fake.path });
    await watched.until(() => watched.of('event').length >= 2);
    expect(watched.of('event').map(({ event }) => event)).toMatchObject([{ type: 'info' }, { type: 'state', name: 'RECONNECTING' }]);
  });

  it('comes back, and renews what OpenVPN has forgotten', async () => {
    const fake = await openvpn();
    const watched = new Watched({ path: fake.path, retry: { startMs: 1, maxMs: 2 } });
    await watched.until(() => watched.of('attached').length === 1);
    fake.hangUp();
    await watched.until(() => watched.of('attached').length === 2);
    expect(watched.events.map(({ type }) => type).filter((type) => type !== 'event')).toEqual(['attached', 'detached', 'attached']);
    expect(fake.received).toEqual(['state on', 'state', 'state on', 'state']);
  });

  it('finds an OpenVPN that starts later, and says once that it was not there', async () => {
    const fake = await openvpn();
    const { path } = fake;
    await fake.stop();
    const watched = new Watched({ path, retry: { startMs: 1, maxMs: 2 } });
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(watched.events).toMatchObject([{ type: 'detached', error: { code: 'MANAGEMENT_UNREACHABLE' } }]);
    const { createServer } = await import('node:net');
    const { mkdir, rm } = await import('node:fs/promises');
    const { dirname } = await import('node:path');
    await mkdir(dirname(path));
    const server = createServer((socket) => {
      socket.on('error', () => undefined);
      socket.write(GREETING);
      socket.setEncoding('utf8').on('data', (line: string) => socket.write(line.startsWith('state on') ? STATE_ON : 'END\r\n'));
    }).listen(path);
    await watched.until(() => watched.of('attached').length === 1);
    expect(watched.of('attached')[0]).not.toHaveProperty('state');
    await watched.client.close();
    server.close();
    await rm(dirname(path), { recursive: true, force: true });
  });

  it('waits longer from try to try, and half a second at most', async () => {
    const fake = await openvpn();
    await fake.stop();
    const silentMs = 60_000;
    const waits: number[] = [];
    const clock: Clock = {
      now: () => 0,
      after: (delayMs, callback) => {
        if (delayMs === silentMs) return () => undefined; // how long a connection may say nothing, not a wait between two
        waits.push(delayMs);
        const timer = setTimeout(callback, 0);
        return () => { clearTimeout(timer); };
      },
    };
    const watched = new Watched({ path: fake.path, clock, silentMs });
    await watched.until(() => waits.length >= 7);
    expect(waits.slice(0, 7)).toEqual([50, 100, 200, 400, 500, 500, 500]);
  });

  it('says that another client has OpenVPN, and waits behind it', async () => {
    const fake = await openvpn('');
    const watched = new Watched({ path: fake.path, silentMs: 20 });
    await watched.until(() => watched.of('detached').length === 1);
    expect(watched.of('detached')[0]?.error).toMatchObject({ code: 'MANAGEMENT_TIMEOUT' });
    fake.say(GREETING);
    await watched.until(() => watched.of('attached').length === 1);
  });

  it('gives a refused management password once, and a new one', async () => {
    const fake = await openvpn('ENTER PASSWORD:');
    fake.answers.set('old', 'ENTER PASSWORD:').set('new', `SUCCESS: password is correct\r\n${GREETING}`);
    let password = 'old';
    const watched = new Watched({ path: fake.path, password: () => Promise.resolve(new Secret(password)), retry: { startMs: 1, maxMs: 1 } });
    await watched.until(() => watched.of('detached').length === 2);
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(fake.received).toEqual(['old']);
    password = 'new';
    await watched.until(() => watched.of('attached').length === 1);
    expect(fake.received.slice(0, 2)).toEqual(['old', 'new']);
  });

  it('completes when it is closed, wherever it is', async () => {
    const fake = await openvpn();
    const attached = new Watched({ path: fake.path });
    await attached.until(() => attached.of('attached').length === 1);
    const waiting = new Watched({ path: '/nonexistent/management.sock', retry: { startMs: 100_000, maxMs: 100_000 } });
    await waiting.until(() => waiting.of('detached').length === 1);
    const silent = new Watched({ path: (await openvpn('')).path });
    const deaf = await openvpn();
    deaf.answers.clear();
    const unanswered = new Watched({ path: deaf.path });
    await unanswered.until(() => deaf.received.length === 1);
    for (const { client } of [attached, waiting, silent, unanswered]) {
      let completed = false;
      client.events$.subscribe({ complete: () => (completed = true) });
      await client.close();
      expect(completed).toBe(true);
    }
  });
});
