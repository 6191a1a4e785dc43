import { afterEach, describe, expect, it } from '@jest/globals';
import { HoldPolicy, ManagementClient } from '../../../src/management/index.js';
import { FakeOpenVpn } from './fake-openvpn.js';
import { ManualClock } from './manual-clock.js';

const cleanUps: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

const HOLD = (seconds: number): string => `>HOLD:Waiting for hold release:${seconds}\r\n`;
const RELEASED = 'SUCCESS: hold release succeeded\r\n';

async function holding(): Promise<{ openvpn: FakeOpenVpn; client: ManagementClient; policy: HoldPolicy; clock: ManualClock; said(text: string): Promise<void>; releases(): number }> {
  const openvpn = await FakeOpenVpn.start();
  const client = await ManagementClient.connect({ path: openvpn.path });
  const clock = new ManualClock();
  const policy = new HoldPolicy(client, { clock });
  cleanUps.push(async () => {
    policy.close();
    await client.close();
    await openvpn.stop();
  });
  openvpn.answers.set('pid', 'SUCCESS: pid=1\r\n');
  return {
    openvpn,
    client,
    policy,
    clock,
    /** Says it, and resolves when the client has read it: the reply to `pid` comes after it. */
    said: async (text) => {
      openvpn.say(text);
      await client.pid();
    },
    releases: () => openvpn.received.filter((line) => line === 'hold release').length,
  };
}

describe('HoldPolicy', () => {
  it('releases nothing, and runs no timer, while no dial is wanted', async () => {
    const { clock, said, releases } = await holding();
    await said(HOLD(0));
    await said('>STATE:1,RECONNECTING,SIGUSR1,,,,,\r\n' + HOLD(1));
    expect(clock.running).toBe(0);
    expect(releases()).toBe(0);
  });

  it('releases a hold once, when a dial is wanted', async () => {
    const { openvpn, policy, said, releases } = await holding();
    openvpn.answers.set('hold release', RELEASED);
    await said(HOLD(0));
    policy.want();
    policy.want();
    await said('');
    expect(releases()).toBe(1);
  });

  it('waits as long as OpenVPN would', async () => {
    const { openvpn, policy, clock, said, releases } = await holding();
    openvpn.answers.set('hold release', RELEASED);
    policy.want();
    await said(HOLD(4));
    clock.advance(3999);
    await said('');
    expect(releases()).toBe(0);
    clock.advance(1);
    await said('');
    expect(releases()).toBe(1);
    expect(clock.running).toBe(0);
  });

  it('has waited already where the hold is older than its seconds', async () => {
    const { openvpn, policy, clock, said, releases } = await holding();
    openvpn.answers.set('hold release', RELEASED);
    await said(HOLD(4));
    clock.advance(60_000);
    policy.want();
    await said('');
    expect(releases()).toBe(1);
  });

  it('answers every hold of a series, and never RECONNECTING', async () => {
    const { openvpn, policy, clock, said, releases } = await holding();
    openvpn.answers.set('hold release', `${RELEASED}>STATE:1,TCP_CONNECT,,,,,,\r\n>STATE:1,RECONNECTING,connection-failed,,,,,\r\n${HOLD(1)}`);
    policy.want();
    await said(HOLD(0));
    for (let round = 1; round <= 5; round += 1) {
      await said('');
      expect(releases()).toBe(round);
      clock.advance(1000);
    }
  });

  it('does not take a hold that is said again for a new one', async () => {
    const { openvpn, policy, client, said, releases } = await holding();
    openvpn.answers.set('signal SIGUSR1', `ERROR: signal 'SIGUSR1' is currently ignored\r\n${HOLD(0)}`);
    await said(HOLD(0));
    const refused = expect(client.signal('SIGUSR1')).rejects.toMatchObject({ code: 'MANAGEMENT_REFUSED' });
    policy.want();
    await refused;
    await openvpn.heard(3);
    openvpn.say(HOLD(0) + RELEASED);
    await said('');
    expect(releases()).toBe(1);
  });

  it('does not begin to wait anew for a hold that is said again', async () => {
    const { openvpn, policy, clock, said, releases } = await holding();
    openvpn.answers.set('hold release', RELEASED);
    policy.want();
    await said(HOLD(4));
    clock.advance(3000);
    await said(HOLD(4));
    clock.advance(1000);
    await said('');
    expect(releases()).toBe(1);
  });

  it('stops to answer when no dial is wanted any more', async () => {
    const { openvpn, policy, clock, said, releases } = await holding();
    openvpn.answers.set('hold release', RELEASED);
    policy.want();
    await said(HOLD(8));
    policy.unwant();
    clock.advance(60_000);
    await said('');
    expect(releases()).toBe(0);
    expect(clock.running).toBe(0);
  });

  it('takes another wait than OpenVPN asks for, if it is told to', async () => {
    const { openvpn, client, said, releases } = await holding();
    openvpn.answers.set('hold release', RELEASED);
    const eager = new HoldPolicy(client, { waitMs: () => 0 });
    eager.want();
    await said(HOLD(16));
    await said('');
    expect(releases()).toBe(1);
    eager.close();
  });
});

describe('ManagementClient.question', () => {
  it('is what OpenVPN waits for', async () => {
    const { openvpn, client, said } = await holding();
    openvpn.answers
      .set('hold release', RELEASED)
      .set('password "Auth" "b"', "SUCCESS: 'Auth' password entered, but not yet verified\r\n")
      .set('username "Auth" "a"', "SUCCESS: 'Auth' username entered, but not yet verified\r\n")
      .set('username "Wrong" "a"', "ERROR: username of type 'Wrong' entered, but we need one of type 'Auth'\r\n")
      .set('needok "token" ok', "SUCCESS: 'token' needok-confirmation entered, but not yet verified\r\n");
    await said(HOLD(0));
    expect(client.question).toMatchObject({ type: 'hold' });
    await client.holdRelease();
    expect(client.question).toBeUndefined();
    await said(">PASSWORD:Need 'Auth' username/password\r\n");
    await client.command('password "Auth" "b"');
    await expect(client.username('Wrong', 'a')).rejects.toThrow();
    expect(client.question).toMatchObject({ realm: 'Auth' });
    await client.username('Auth', 'a');
    expect(client.question).toBeUndefined();
    await said(">NEED-OK:Need 'token' confirmation MSG:Insert it\r\n");
    expect(client.question).toMatchObject({ type: 'need-ok' });
    await client.needOk('token', 'ok');
    expect(client.question).toBeUndefined();
  });

  it('keeps a SIGUSR1 back that would end OpenVPN', async () => {
    const { client, openvpn, said } = await holding();
    await said(">PASSWORD:Need 'Private Key' password\r\n");
    await expect(client.signal('SIGUSR1')).rejects.toMatchObject({ code: 'MANAGEMENT_INVALID' });
    expect(openvpn.received).not.toContain('signal SIGUSR1');
  });
});
