import { afterEach, describe, expect, it } from '@jest/globals';
import { endOf, ManagementClient } from '../../../src/management/index.js';
import { FakeOpenVpn } from './fake-openvpn.js';

const cleanUps: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

async function pair(): Promise<{ openvpn: FakeOpenVpn; client: ManagementClient }> {
  const openvpn = await FakeOpenVpn.start();
  const client = await ManagementClient.connect({ path: openvpn.path });
  cleanUps.push(async () => {
    await client.close();
    await openvpn.stop();
  });
  return { openvpn, client };
}

describe('endOf', () => {
  it.each(['SIGTERM', 'inactive', 'exit-with-notification', 'auth-failure', 'ping-exit'])('keeps the reason %s of EXITING', async (reason) => {
    const { openvpn, client } = await pair();
    openvpn.say(`>STATE:1,EXITING,${reason},,,,,\r\n`);
    expect(await endOf(client)).toEqual({ by: 'exiting', reason });
  });

  it('keeps what was refused', async () => {
    const { openvpn, client } = await pair();
    openvpn.say(">PASSWORD:Verification Failed: 'Auth' ['closed']\r\n>STATE:1,EXITING,auth-failure,,,,,\r\n");
    expect(await endOf(client)).toMatchObject({ by: 'exiting', refused: { realm: 'Auth', reason: 'closed' } });
  });

  it('does not count as refused what was accepted later, nor a challenge', async () => {
    const { openvpn, client } = await pair();
    openvpn.say(">PASSWORD:Verification Failed: 'Auth'\r\n>STATE:1,CONNECTED,SUCCESS,,,,,\r\n>PASSWORD:Verification Failed: 'Auth' ['CRV1:R:a:Yg==:c']\r\n>STATE:1,EXITING,SIGTERM,,,,,\r\n");
    expect(await endOf(client)).toEqual({ by: 'exiting', reason: 'SIGTERM' });
  });

  it('keeps the text of FATAL', async () => {
    const { openvpn, client } = await pair();
    openvpn.say('>FATAL:Cannot ioctl TUNSETIFF\r\n');
    expect(await endOf(client, new Promise(() => undefined))).toEqual({ by: 'fatal', reason: 'Cannot ioctl TUNSETIFF' });
  });

  it('sees an end without a word', async () => {
    const { openvpn, client } = await pair();
    openvpn.hangUp();
    expect(await endOf(client)).toMatchObject({ by: 'connection', connection: { by: 'peer' } });
  });

  it('hears last words that come after the exit', async () => {
    const { openvpn, client } = await pair();
    const end = endOf(client, Promise.resolve({ exitCode: 0 }));
    openvpn.say('>STATE:1,EXITING,inactive,,,,,\r\n');
    openvpn.hangUp();
    expect(await end).toEqual({ by: 'exiting', reason: 'inactive' });
  });

  it('names the exit where nothing was said', async () => {
    const { openvpn, client } = await pair();
    const end = endOf(client, new Promise((resolve) => setTimeout(resolve, 20, { signal: 'SIGKILL' })));
    openvpn.hangUp();
    expect(await end).toEqual({ by: 'exit', reason: 'SIGKILL', signal: 'SIGKILL' });
  });

  it('does not wait for ever for a connection that somebody else keeps open', async () => {
    const { client } = await pair();
    expect(await endOf(client, Promise.resolve({ exitCode: 1 }))).toEqual({ by: 'exit', reason: 'exit status 1', exitCode: 1 });
  });
});
