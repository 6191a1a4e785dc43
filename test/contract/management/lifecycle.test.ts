import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createConnection } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { endOf, HoldPolicy, ManagementClient, ReconnectingClient, type AttachEvent, type ReconnectOptions, type StateEvent } from '../../../src/management/index.js';
import { event, isState, Pair, Scope } from './openvpn.js';

const suite = new Scope();
const scope = new Scope();
let pair: Pair;

const PORT = 1320;

beforeAll(async () => {
  pair = await Pair.create(suite);
  void pair.server(suite, PORT);
});

afterAll(suite.undo);
afterEach(scope.undo);

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await sleep(2);
}

async function connected(args: readonly string[] = []): Promise<{ client: ManagementClient; process: ReturnType<Pair['client']>; path: string }> {
  const path = pair.path('client.sock');
  const process = pair.client(scope, PORT, path, args);
  const client = await scope.connect({ path });
  await client.stateOn();
  await client.holdRelease();
  await event(client, isState('CONNECTED'));
  return { client, process, path };
}

describe('the end of OpenVPN', () => {
  it('by SIGTERM', async () => {
    const { client, process } = await connected();
    await client.signal('SIGTERM');
    expect(await endOf(client, process)).toEqual({ by: 'exiting', reason: 'SIGTERM' });
  });

  it('by --inactive', async () => {
    const { client, process } = await connected(['--inactive', '1']);
    expect(await endOf(client, process)).toEqual({ by: 'exiting', reason: 'inactive' });
    expect((await process).exitCode).toBe(0);
  });

  it('by --inactive with an exit notification', async () => {
    const { client, process } = await connected(['--inactive', '3', '--explicit-exit-notify', '1']);
    expect(await endOf(client, process)).toEqual({ by: 'exiting', reason: 'exit-with-notification' });
  });

  it('by a kill', async () => {
    const { client, process } = await connected();
    global.process.kill(await client.pid(), 'SIGKILL');
    // `ip netns exec` is OpenVPN itself: it has become it.
    expect(await endOf(client, process)).toEqual({ by: 'exit', reason: 'SIGKILL', signal: 'SIGKILL' });
  });

  it('in the first hold, without EXITING', async () => {
    const path = pair.path('client.sock');
    const process = pair.client(scope, PORT, path);
    const client = await scope.connect({ path });
    await client.stateOn();
    await client.signal('SIGTERM');
    expect(await endOf(client, process)).toEqual({ by: 'exit', reason: 'exit status 0', exitCode: 0 });
    expect(await client.ending).toMatchObject({ by: 'connection' });
  });
});

describe('holds of a real OpenVPN', () => {
  it('are released once each, after their seconds, while nobody answers', async () => {
    const path = pair.path('refused.sock');
    // Nobody listens on that TCP port, so every dial fails at once.
    void pair.openvpn(scope, ['--config', pair.path('client.inline'), '--client', '--dev', 'null', '--remote', '127.0.0.1', '1399', 'tcp-client', '--nobind', '--verb', '3', '--management', path, 'unix', '--management-hold']);
    const client = await scope.connect({ path });
    await client.stateOn();
    await client.logOn();
    const seen: string[] = [];
    const times: number[] = [];
    client.events$.subscribe((each) => {
      if (each.type === 'hold') seen.push(`hold ${each.waitSeconds}`);
      if (each.type === 'log' && each.text.includes("CMD 'hold release'")) {
        seen.push('release');
        times.push(performance.now());
      }
    });
    const policy = new HoldPolicy(client);
    policy.want();
    await until(() => seen.length >= 7);
    expect(seen.slice(0, 7)).toEqual(['hold 0', 'release', 'hold 1', 'release', 'hold 1', 'release', 'hold 1']);
    for (const [index, time] of times.slice(1, 3).entries()) expect(time - (times[index] ?? 0)).toBeGreaterThan(990);
    policy.close();
  });

  it('warm: SIGUSR1 brings the hold back, and the next release connects again', async () => {
    const { client } = await connected(['--persist-tun']);
    await client.signal('SIGUSR1');
    await event(client, ({ type }) => type === 'hold');
    expect(client.question).toMatchObject({ type: 'hold', waitSeconds: 1 });
    await client.holdRelease();
    await event(client, isState('CONNECTED'));
  });
});

class Watched {
  readonly events: { readonly at: number; readonly event: AttachEvent }[] = [];
  readonly client: ReconnectingClient;

  constructor(options: ReconnectOptions) {
    this.client = ReconnectingClient.start(options);
    this.client.events$.subscribe((each) => this.events.push({ at: performance.now(), event: each }));
    scope.add(() => this.client.close());
  }

  /** What a daemon would show: the newest state, undefined while it is not known or OpenVPN holds. */
  get state(): StateEvent['name'] | 'held' | 'gone' | undefined {
    let state: StateEvent['name'] | 'held' | 'gone' | undefined;
    for (const { event: each } of this.events) {
      if (each.type === 'detached') state = 'gone';
      else if (each.type === 'attached') state = each.question?.type === 'hold' ? 'held' : each.state?.name;
      else if (each.event.type === 'state') state = each.event.name;
      else if (each.event.type === 'hold') state = 'held';
    }
    return state;
  }
}

/** How long it took is a figure for who reads along: on a busy machine it says nothing about us. */
function tellAfter(start: number): void {
  process.stderr.write(`${expect.getState().currentTestName ?? ''}: ${(performance.now() - start).toFixed(0)} ms\n`);
}

describe('a management connection that comes back', () => {
  it('to an OpenVPN that was killed and is started again by hand', async () => {
    const path = pair.path('again.sock');
    void pair.client(scope, PORT, path);
    const watched = new Watched({ path });
    await until(() => watched.state === 'held');
    await watched.client.client?.holdRelease();
    await until(() => watched.state === 'CONNECTED');
    const pid = await watched.client.client?.pid();
    if (pid !== undefined) process.kill(pid, 'SIGKILL');
    await until(() => watched.state === 'gone');
    await sleep(1500);
    const started = performance.now();
    void pair.client(scope, PORT, path);
    await until(() => watched.state === 'held');
    tellAfter(started);
    // Its history has no CONNECTED of the process before.
    await watched.client.client?.holdRelease();
    await until(() => watched.state === 'CONNECTED');
  });

  it('behind another client, and knows the state after its leaving', async () => {
    const { client, path } = await connected();
    const watched = new Watched({ path, silentMs: 50 });
    await until(() => watched.state === 'gone');
    expect(watched.events[0]?.event).toMatchObject({ type: 'detached', error: { code: 'MANAGEMENT_TIMEOUT' } });
    await client.signal('SIGUSR1');
    await event(client, ({ type }) => type === 'hold');
    const left = performance.now();
    await client.close();
    await until(() => watched.state === 'held');
    tellAfter(left);
  });

  it('knows the state after 5 seconds of SIGSTOP', async () => {
    const { client: first, path } = await connected();
    const pid = await first.pid();
    await first.close();
    const watched = new Watched({ path, commandTimeoutMs: 1000 });
    await until(() => watched.state === 'CONNECTED');
    process.kill(pid, 'SIGSTOP');
    const before = watched.client.client;
    await expect(before?.command('pid')).rejects.toMatchObject({ code: 'MANAGEMENT_TIMEOUT' });
    // Sent while it is stopped, obeyed later; its late reply is not taken for the next one's.
    await expect(before?.signal('SIGUSR1')).rejects.toMatchObject({ code: 'MANAGEMENT_TIMEOUT' });
    await sleep(3000);
    process.kill(pid, 'SIGCONT');
    const continued = performance.now();
    expect(await watched.client.client?.pid()).toBe(pid);
    await watched.client.client?.signal('SIGUSR1');
    await until(() => watched.state === 'held');
    tellAfter(continued);
  });

  it('to an OpenVPN that was stopped when it was called', async () => {
    const { client: first, path } = await connected();
    const pid = await first.pid();
    await first.close();
    process.kill(pid, 'SIGSTOP');
    const watched = new Watched({ path, silentMs: 50, commandTimeoutMs: 1000 });
    await until(() => watched.state === 'gone');
    await sleep(1000);
    process.kill(pid, 'SIGCONT');
    const continued = performance.now();
    await until(() => watched.state === 'CONNECTED');
    tellAfter(continued);
  });
});

describe('facts that the library is built on', () => {
  it('OpenVPN asks for its password three times without a word, and then hangs up', async () => {
    const passwordFile = pair.path('management-password');
    await writeFile(passwordFile, 'right\n', { mode: 0o600 });
    const path = pair.path('password.sock');
    void scope.openvpn(['--management', path, 'unix', passwordFile, '--management-hold']);
    await (await scope.connect({ path, password: 'right' })).close();
    const socket = createConnection(path).setEncoding('utf8');
    scope.add(() => Promise.resolve(socket.destroy()));
    let text = '';
    socket.on('data', (chunk: string) => (text += chunk));
    for (const prompts of [1, 2, 3]) {
      await until(() => text === 'ENTER PASSWORD:'.repeat(prompts));
      socket.write('wrong\n');
    }
    await once(socket, 'close');
    expect(text).toBe('ENTER PASSWORD:'.repeat(3));
  });

  it('OpenVPN speaks with one client at a time', async () => {
    const path = pair.path('two.sock');
    void scope.openvpn(['--management', path, 'unix', '--management-hold']);
    const first = await scope.connect({ path });
    await expect(ManagementClient.connect({ path, connectTimeoutMs: 200 })).rejects.toMatchObject({ code: 'MANAGEMENT_TIMEOUT', hint: expect.stringContaining('one client at a time') });
    const second = ManagementClient.connect({ path });
    await first.close();
    const client = await second;
    scope.add(() => client.close());
    await event(client, ({ type }) => type === 'hold');
  });
});
