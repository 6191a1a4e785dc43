import { afterEach, describe, expect, it } from '@jest/globals';
import { filter, firstValueFrom, lastValueFrom, take, toArray } from 'rxjs';
import type { DaemonError } from '../../../src/core/errors.js';
import { CommandRefused, ManagementClient, type ClientOptions } from '../../../src/management/index.js';
import { FakeOpenVpn } from './fake-openvpn.js';
import { ManualClock } from './manual-clock.js';
import { transcript, transcriptNames } from './transcript.js';

const cleanUps: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

async function fake(greeting?: string): Promise<FakeOpenVpn> {
  const openvpn = await FakeOpenVpn.start(greeting);
  cleanUps.push(() => openvpn.stop());
  return openvpn;
}

async function pair(options: ClientOptions = {}, greeting?: string): Promise<{ openvpn: FakeOpenVpn; client: ManagementClient }> {
  const openvpn = await fake(greeting);
  const client = await ManagementClient.connect({ path: openvpn.path, ...options });
  cleanUps.push(() => client.close());
  return { openvpn, client };
}

async function failure(promise: Promise<unknown>): Promise<DaemonError> {
  return promise.then(
    () => {
      throw new Error('it did not fail');
    },
    (error: unknown) => error as DaemonError,
  );
}

describe('ManagementClient.command', () => {
  it('gives the line of a SUCCESS, and the lines before an END', async () => {
    const { openvpn, client } = await pair();
    openvpn.answers.set('pid', 'SUCCESS: pid=4711\r\n').set('version', 'OpenVPN Version: OpenVPN 2.6.14\r\nManagement Version: 5\r\nEND\r\n');
    expect(await client.command('pid')).toEqual(['SUCCESS: pid=4711']);
    expect(await client.command('version')).toEqual(['OpenVPN Version: OpenVPN 2.6.14', 'Management Version: 5']);
    expect(await client.pid()).toBe(4711);
  });

  it('rejects with the command and the response of an ERROR', async () => {
    const { openvpn, client } = await pair();
    openvpn.answers.set('status 3', "ERROR: The 'status' command is not supported by the current daemon mode\r\n");
    const error = await failure(client.command('status 3'));
    expect(error).toBeInstanceOf(CommandRefused);
    expect(error).toMatchObject({ code: 'MANAGEMENT_REFUSED', command: 'status 3', response: "ERROR: The 'status' command is not supported by the current daemon mode" });
  });

  it('keeps real-time lines out of a reply, before it, inside and after', async () => {
    const { openvpn, client } = await pair();
    openvpn.answers.set('status', ">LOG:1,D,MANAGEMENT: CMD 'status'\r\nOpenVPN STATISTICS\r\n>BYTECOUNT:1,2\r\nTUN/TAP read bytes,0\r\n>STATE:1,WAIT,,,,,,\r\nEND\r\n>HOLD:Waiting for hold release:0\r\n");
    expect(await client.command('status')).toEqual(['OpenVPN STATISTICS', 'TUN/TAP read bytes,0']);
    const types: string[] = [];
    client.events$.subscribe(({ type }) => types.push(type));
    await client.command('status');
    expect(types).toEqual(['info', 'log', 'bytecount', 'state', 'hold', 'log', 'bytecount', 'state', 'hold'].slice(0, types.length));
    expect(types.length).toBeGreaterThanOrEqual(8);
  });

  it('has one command in flight, the others wait', async () => {
    const { openvpn, client } = await pair();
    const replies = Promise.all([client.command('pid'), client.command('verb'), client.command('mute')]);
    await openvpn.heard(1);
    openvpn.say('SUCCESS: pid=1\r\n');
    await openvpn.heard(2);
    expect(openvpn.received).toEqual(['pid', 'verb']);
    openvpn.say('SUCCESS: verb=3\r\n');
    await openvpn.heard(3);
    openvpn.say('SUCCESS: mute=0\r\n');
    expect(await replies).toEqual([['SUCCESS: pid=1'], ['SUCCESS: verb=3'], ['SUCCESS: mute=0']]);
  });

  it('does not give the late reply of one command to the next', async () => {
    const { openvpn, client } = await pair();
    expect((await failure(client.command('pid', { timeoutMs: 20 }))).code).toBe('MANAGEMENT_TIMEOUT');
    const next = client.command('verb');
    openvpn.say('SUCCESS: pid=1\r\n');
    await openvpn.heard(2);
    openvpn.say('SUCCESS: verb=3\r\n');
    expect(await next).toEqual(['SUCCESS: verb=3']);
    const late = await firstValueFrom(client.events$.pipe(filter(({ type }) => type === 'unknown')));
    expect(late).toEqual({ type: 'unknown', line: 'SUCCESS: pid=1' });
  });

  it('never sends what timed out in the queue', async () => {
    const { openvpn, client } = await pair();
    const [first, second] = await Promise.all([failure(client.command('pid', { timeoutMs: 20 })), failure(client.command('signal SIGTERM', { timeoutMs: 20 }))]);
    expect([first.code, second.code]).toEqual(['MANAGEMENT_TIMEOUT', 'MANAGEMENT_TIMEOUT']);
    openvpn.answers.set('verb', 'SUCCESS: verb=3\r\n');
    openvpn.say('SUCCESS: pid=1\r\n');
    await client.command('verb');
    expect(openvpn.received).toEqual(['pid', 'verb']);
  });

  it('knows the replies of state, log and echo by their parameters', async () => {
    const { openvpn, client } = await pair();
    openvpn.answers
      .set('state', '1,WAIT,,,,,,\r\nEND\r\n')
      .set('state on', 'SUCCESS: real-time state notification set to ON\r\n')
      .set('state on all', 'SUCCESS: real-time state notification set to ON\r\n1,CONNECTING,,,,,,\r\n2,WAIT,,,,,,\r\nEND\r\n')
      .set('log 0', "ERROR: log parameter must be 'on' or 'off' or some number n or 'all'\r\n")
      .set('echo all', 'END\r\n');
    expect(await client.command('state')).toEqual(['1,WAIT,,,,,,']);
    expect(await client.state()).toEqual({ type: 'state', time: 1, name: 'WAIT', description: '' });
    expect(await client.command('state on')).toEqual(['SUCCESS: real-time state notification set to ON']);
    expect(await client.command('state on all')).toEqual(['SUCCESS: real-time state notification set to ON', '1,CONNECTING,,,,,,', '2,WAIT,,,,,,']);
    expect((await failure(client.command('log 0'))).code).toBe('MANAGEMENT_REFUSED');
    expect(await client.command('echo all')).toEqual([]);
  });

  it('does not wait for what has no reply', async () => {
    const { openvpn, client } = await pair();
    openvpn.answers.set('version 5', 'SUCCESS: Management client version set to 5\r\n').set('pid', 'SUCCESS: pid=1\r\n');
    expect(await client.command('version 5')).toEqual([]);
    expect(await client.command('')).toEqual([]);
    expect(await client.command('# a remark')).toEqual([]);
    expect(await client.command('pid')).toEqual(['SUCCESS: pid=1']);
    expect(openvpn.received).toEqual(['version 5', '', '# a remark', 'pid']);
  });

  it('counts the lines of test', async () => {
    const { openvpn, client } = await pair();
    openvpn.answers.set('test 2', '[0] The purpose\r\n[1] The purpose\r\n').set('pid', 'SUCCESS: pid=1\r\n');
    expect(await client.command('test 2')).toEqual(['[0] The purpose', '[1] The purpose']);
    expect(await client.command('test 0')).toEqual([]);
    expect(await client.command('pid')).toEqual(['SUCCESS: pid=1']);
  });

  it('takes the real-time line that answers pkcs11-id-count for event and reply', async () => {
    const { openvpn, client } = await pair();
    openvpn.answers.set('pkcs11-id-count', '>PKCS11ID-COUNT:2\r\n').set('pkcs11-id-get 1', ">PKCS11ID-ENTRY:'1', ID:'x', BLOB:'QQ=='\r\n");
    expect(await client.command('pkcs11-id-count')).toEqual(['>PKCS11ID-COUNT:2']);
    expect(await client.command('pkcs11-id-get 1')).toEqual([">PKCS11ID-ENTRY:'1', ID:'x', BLOB:'QQ=='"]);
    expect(await firstValueFrom(client.events$.pipe(filter(({ type }) => type.startsWith('pkcs11'))))).toEqual({ type: 'pkcs11-id-count', count: 2 });
  });

  it('sends the lines up to END with the command that they belong to', async () => {
    const { openvpn, client } = await pair();
    openvpn.answers.set('END', 'SUCCESS: client-auth command succeeded\r\n');
    expect(await client.command('client-auth 0 1', { body: ['push "route 10.0.0.0 255.0.0.0"'] })).toEqual(['SUCCESS: client-auth command succeeded']);
    expect(openvpn.received).toEqual(['client-auth 0 1', 'push "route 10.0.0.0 255.0.0.0"', 'END']);
  });

  it('is not put out of step where OpenVPN refuses the first line and runs the others as commands', async () => {
    const { openvpn, client } = await pair();
    openvpn.answers.set('pk-sig', 'ERROR: The pk-sig command is not currently available\r\n');
    expect((await failure(client.command('pk-sig', { body: ['QUJD'] }))).code).toBe('MANAGEMENT_REFUSED');
    const next = client.command('verb');
    await openvpn.heard(4);
    openvpn.say("ERROR: unknown command, enter 'help' for more options\r\n".repeat(2) + 'SUCCESS: verb=3\r\n');
    expect(await next).toEqual(['SUCCESS: verb=3']);
    // After the next reply nothing is left of it: an unknown command is refused as ever.
    openvpn.answers.set('nonsense', "ERROR: unknown command, enter 'help' for more options\r\n");
    expect((await failure(client.command('nonsense'))).code).toBe('MANAGEMENT_REFUSED');
  });

  it('does not take a line of a list for an ERROR', async () => {
    const { openvpn, client } = await pair();
    openvpn.answers.set('status', 'OpenVPN CLIENT LIST\r\nERROR: common name,10.0.0.1:1\r\nSUCCESS: another,10.0.0.2:1\r\nEND,10.0.0.3:1\r\nEND\r\n');
    expect(await client.command('status')).toEqual(['OpenVPN CLIENT LIST', 'ERROR: common name,10.0.0.1:1', 'SUCCESS: another,10.0.0.2:1', 'END,10.0.0.3:1']);
  });

  it('knows a command that it has never heard of by its first line', async () => {
    const { openvpn, client } = await pair();
    openvpn.answers.set('new-list', 'one\r\ntwo\r\nEND\r\n').set('new-thing', "ERROR: unknown command [new-thing], enter 'help' for more options\r\n");
    expect(await client.command('new-list')).toEqual(['one', 'two']);
    expect((await failure(client.command('new-thing'))).code).toBe('MANAGEMENT_REFUSED');
  });

  it('shows no secret in an error', async () => {
    const { openvpn, client } = await pair();
    openvpn.answers.set('password "Auth" "hunter2"', 'ERROR: no password is currently needed at this time\r\n');
    const error = await failure(client.command('password "Auth" "hunter2"'));
    expect(error).toMatchObject({ command: 'password "Auth" [secret]' });
    expect(error.stack).not.toContain('hunter2');
  });

  it('rejects what is open when the connection ends, and what comes after', async () => {
    const { openvpn, client } = await pair();
    const open = failure(client.command('pid'));
    await openvpn.heard(1);
    openvpn.hangUp();
    expect((await open).code).toBe('MANAGEMENT_CLOSED');
    expect((await failure(client.command('pid'))).code).toBe('MANAGEMENT_CLOSED');
  });

  it('resolves exit when the connection has closed', async () => {
    const { openvpn, client } = await pair();
    const done = client.command('exit');
    await openvpn.heard(1);
    openvpn.hangUp();
    expect(await done).toEqual([]);
    expect(await client.closed).toEqual({ by: 'us' });
  });
});

describe('ManagementClient.events$', () => {
  it('loses nothing that came before the first subscription, and completes', async () => {
    const { openvpn, client } = await pair();
    openvpn.say('>HOLD:Waiting for hold release:0\r\n>STATE:1,WAIT,,,,,,\r\n');
    openvpn.hangUp();
    expect(await client.closed).toEqual({ by: 'peer' });
    expect((await lastValueFrom(client.events$.pipe(toArray()))).map(({ type }) => type)).toEqual(['info', 'hold', 'state']);
  });

  it('loses nothing between two waits', async () => {
    const { openvpn, client } = await pair();
    openvpn.say('>HOLD:Waiting for hold release:0\r\n>STATE:1,WAIT,,,,,,\r\n>STATE:2,CONNECTED,SUCCESS,10.8.0.2,127.0.0.1,1194,,\r\n');
    await firstValueFrom(client.events$.pipe(filter(({ type }) => type === 'hold')));
    await new Promise((resolve) => setTimeout(resolve, 10));
    expect(await firstValueFrom(client.events$)).toMatchObject({ name: 'WAIT' });
    expect(await firstValueFrom(client.events$)).toMatchObject({ name: 'CONNECTED' });
  });

  it('keeps no more than the last 1024', async () => {
    const { openvpn, client } = await pair();
    openvpn.say('>BYTECOUNT:1,1\r\n'.repeat(3000) + '>FATAL:x\r\n');
    openvpn.hangUp();
    await client.closed;
    const events = await lastValueFrom(client.events$.pipe(toArray()));
    expect(events).toHaveLength(1024);
    expect(events.at(-1)).toEqual({ type: 'fatal', text: 'x' });
  });

  it('has lines that belong to nothing, and what the end cut off', async () => {
    const { openvpn, client } = await pair();
    openvpn.say('whose?\r\nSUCCESS: of what?\r\n>STATE:1,CONN');
    openvpn.hangUp();
    const events = await lastValueFrom(client.events$.pipe(filter(({ type }) => type === 'unknown'), toArray()));
    expect(events).toEqual([{ type: 'unknown', line: 'whose?' }, { type: 'unknown', line: '>STATE:1,CONN' }]);
  });
});

/** Sessions as one would replay them to a client that sends nothing. */
describe.each(transcriptNames().filter((name) => !name.startsWith('09')))('recorded session %s, replayed', (name) => {
  it('is one event for every real-time line, however it is cut', async () => {
    const whole = transcript(name).flatMap(({ from, text }) => (from === 'openvpn' ? [text] : []));
    const seen: unknown[][] = [];
    for (const chunks of [whole, [whole.join('')], Array.from(whole.join(''))]) {
      const openvpn = await fake('');
      const connecting = ManagementClient.connect({ path: openvpn.path });
      await openvpn.connected();
      for (const chunk of chunks) {
        openvpn.say(chunk);
        if (chunks === whole) await new Promise((resolve) => setImmediate(resolve));
      }
      openvpn.hangUp();
      seen.push(await lastValueFrom((await connecting).events$.pipe(toArray())));
    }
    expect(seen[0]).toHaveLength(whole.join('').split(/^>/m).length - 1);
    expect(seen[1]).toEqual(seen[0]);
    expect(seen[2]).toEqual(seen[0]);
  });
});

describe('ManagementClient.connect', () => {
  it('leaves no timer running', async () => {
    const clock = new ManualClock();
    const { openvpn, client } = await pair({ clock });
    expect(clock.running).toBe(0);
    const reply = client.command('pid');
    await openvpn.heard(1);
    expect(clock.running).toBe(1);
    openvpn.say('SUCCESS: pid=1\r\n');
    await reply;
    expect(clock.running).toBe(0);
  });

  it('gives the password once it is asked for, not before', async () => {
    const openvpn = await fake('ENTER PASSWORD:');
    openvpn.answers.set('mgmtpw', 'SUCCESS: password is correct\r\n>INFO:x\r\n>HOLD:Waiting for hold release:0\r\n');
    const client = await ManagementClient.connect({ path: openvpn.path, password: 'mgmtpw' });
    cleanUps.push(() => client.close());
    expect(openvpn.received).toEqual(['mgmtpw']);
    expect(await firstValueFrom(client.events$)).toEqual({ type: 'info', text: 'x' });
  });

  it('does not take a prompt that crossed its password for a refusal', async () => {
    const openvpn = await fake(transcript('09-mgmt-password-bad-then-good').flatMap(({ from, text }) => (from === 'openvpn' ? [text] : [])).join(''));
    const client = await ManagementClient.connect({ path: openvpn.path, password: 'mgmtpw' });
    cleanUps.push(() => client.close());
    expect((await lastValueFrom(client.events$.pipe(take(2), toArray()))).map(({ type }) => type)).toEqual(['info', 'hold']);
  });

  it('does not try a refused password again', async () => {
    const openvpn = await fake('ENTER PASSWORD:');
    openvpn.answers.set('nope', 'ENTER PASSWORD:');
    const error = await failure(ManagementClient.connect({ path: openvpn.path, password: 'nope' }));
    expect(error.code).toBe('MANAGEMENT_PASSWORD');
    expect(openvpn.received).toEqual(['nope']);
  });

  it('says that a password is wanted', async () => {
    const openvpn = await fake('ENTER PASSWORD:');
    expect((await failure(ManagementClient.connect({ path: openvpn.path }))).code).toBe('MANAGEMENT_PASSWORD');
  });

  it('does not send a password that would be a command', async () => {
    const openvpn = await fake('ENTER PASSWORD:');
    for (const password of ['pw\nsignal SIGTERM', 'nul\0', 'x'.repeat(1024)]) {
      expect((await failure(ManagementClient.connect({ path: openvpn.path, password }))).code).toBe('MANAGEMENT_INVALID');
    }
    expect(openvpn.received).toEqual([]);
  });

  it('does not take silence for a connection', async () => {
    const openvpn = await fake('');
    expect((await failure(ManagementClient.connect({ path: openvpn.path, connectTimeoutMs: 20 }))).code).toBe('MANAGEMENT_TIMEOUT');
  });

  it('can be given up', async () => {
    const openvpn = await fake('');
    const error = await failure(ManagementClient.connect({ path: openvpn.path, signal: AbortSignal.timeout(20) }));
    expect(error.code).toBe('MANAGEMENT_CLOSED');
  });

  it('says where nobody listens', async () => {
    const error = await failure(ManagementClient.connect({ path: '/nonexistent/management.sock' }));
    expect(error).toMatchObject({ code: 'MANAGEMENT_UNREACHABLE', place: '/nonexistent/management.sock' });
    expect((await failure(ManagementClient.connect({ host: '127.0.0.1', port: 1 }))).code).toBe('MANAGEMENT_UNREACHABLE');
  });

  it('says who ended the connection', async () => {
    const { openvpn, client } = await pair();
    openvpn.hangUp();
    expect(await client.closed).toEqual({ by: 'peer' });
    const { client: other } = await pair();
    await other.close();
    expect(await other.closed).toEqual({ by: 'us' });
  });
});

/** The commands of a recorded session, played against its own replies. */
describe.each(transcriptNames().filter((name) => !name.startsWith('09')))('recorded session %s, played', (name) => {
  it('answers every command with its own reply', async () => {
    const chunks = transcript(name);
    const firstCommand = chunks.findIndex(({ from }) => from === 'client');
    const { openvpn, client } = await pair({}, chunks.slice(0, firstCommand).map(({ text }) => text).join(''));
    let lines = 0;
    let open: Promise<unknown>[] = [];
    const outcome = (promise: Promise<string[]>): Promise<unknown> => promise.catch((error: unknown) => (error instanceof CommandRefused ? [error.response] : error));
    const outcomes: unknown[] = [];
    for (const { from, text } of chunks.slice(firstCommand)) {
      if (from === 'openvpn') {
        openvpn.say(text);
        outcomes.push(...(text.includes('\nSUCCESS') || /^(SUCCESS|ERROR)/.test(text) ? await Promise.all(open.splice(0, text.split(/^(?:SUCCESS|ERROR)/m).length - 1)) : []));
      } else {
        open = [...open, ...text.trimEnd().split('\n').map((line) => outcome(client.command(line)))];
        lines += 1;
        await openvpn.heard(lines);
        lines = openvpn.received.length;
      }
    }
    const expected = chunks.flatMap(({ from, text }) => (from === 'openvpn' ? text.split('\r\n').filter((line) => /^(SUCCESS|ERROR)/.test(line)) : []));
    expect(outcomes.flat()).toEqual(expected);
  });
});
