import { inspect } from 'node:util';
import { afterEach, describe, expect, it } from '@jest/globals';
import { AttendedPrompts, Authenticator, Credentials, ManagementClient, Secret, SourceProvider, type AuthReport, type SecretSource, type SourceOptions } from '../../../src/management/index.js';
import { FakeOpenVpn } from './fake-openvpn.js';

const cleanUps: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

/** A source whose value the test changes, and which counts how often it is asked. */
class Source implements SecretSource {
  readonly place = 'the test';
  asked = 0;
  value: string;

  constructor(value: string) {
    this.value = value;
  }

  read(): Promise<Secret> {
    this.asked += 1;
    return Promise.resolve(new Secret(this.value));
  }
}

const NEED = ">PASSWORD:Need 'Auth' username/password\r\n";
const REFUSED = ">PASSWORD:Verification Failed: 'Auth'\r\n>STATE:1,RECONNECTING,auth-failure,,,,,\r\n";
const CHALLENGED = ">PASSWORD:Verification Failed: 'Auth' ['CRV1:R,E:Om01:am9l:Enter: PIN']\r\n>STATE:1,RECONNECTING,auth-failure,,,,,\r\n";

class Scene {
  readonly openvpn: FakeOpenVpn;
  readonly reports: AuthReport[] = [];
  readonly credentials: Credentials;
  readonly authenticator: Authenticator;

  private constructor(openvpn: FakeOpenVpn, credentials: Credentials, authenticator: Authenticator) {
    this.openvpn = openvpn;
    this.credentials = credentials;
    this.authenticator = authenticator;
    authenticator.reports$.subscribe((report) => this.reports.push(report));
  }

  static async set(provided: SourceOptions | Credentials): Promise<Scene> {
    const openvpn = await FakeOpenVpn.start();
    // Whatever is answered: entered, but not yet verified.
    const get = openvpn.answers.get.bind(openvpn.answers);
    openvpn.answers.get = (line) => get(line) ?? `SUCCESS: ${line.split(' ')[0] ?? ''}\r\n`;
    const credentials = provided instanceof Credentials ? provided : new Credentials([new SourceProvider(provided)]);
    const client = await ManagementClient.connect({ path: openvpn.path });
    const authenticator = new Authenticator(client, credentials);
    const scene = new Scene(openvpn, credentials, authenticator);
    cleanUps.push(async () => {
      authenticator.close();
      await client.close();
      await openvpn.stop();
    });
    await authenticator.start();
    return scene;
  }

  /** Says it, and resolves with what the client sent until that report came. */
  async say(text: string, until: AuthReport['type']): Promise<string[]> {
    const sentBefore = this.openvpn.received.length;
    const before = this.of(until).length;
    this.openvpn.say(text);
    while (this.of(until).length === before) await new Promise((resolve) => setTimeout(resolve, 1));
    return this.openvpn.received.slice(sentBefore);
  }

  of<T extends AuthReport['type']>(type: T): Extract<AuthReport, { type: T }>[] {
    return this.reports.filter((report): report is Extract<AuthReport, { type: T }> => report.type === type);
  }
}

const login = (password: SecretSource): SourceOptions => ({ login: { username: 'joe', password } });

describe('Authenticator', () => {
  it('asks OpenVPN to ask again', async () => {
    expect((await Scene.set({})).openvpn.received).toEqual(['auth-retry interact']);
  });

  it('gives user name and password when they are asked for', async () => {
    const scene = await Scene.set({ login: { lines: new Source('joe\np"w\\') } });
    expect(await scene.say(NEED, 'answered')).toEqual(['username "Auth" "joe"', 'password "Auth" "p\\"w\\\\"']);
  });

  it('never sends a refused password again', async () => {
    const password = new Source('wrong');
    const scene = await Scene.set(login(password));
    await scene.say(NEED, 'answered');
    await scene.say(REFUSED, 'refused');
    expect(scene.of('refused')).toEqual([{ type: 'refused', realm: 'Auth', hasNew: false }]);
    expect(await scene.say(NEED, 'locked')).toEqual([]);
    password.value = 'right';
    scene.authenticator.retry();
    expect(await scene.say('', 'answered')).toEqual(['username "Auth" "joe"', 'password "Auth" "right"']);
  });

  it('remembers over processes', async () => {
    const credentials = new Credentials([new SourceProvider(login(new Source('wrong')))]);
    const first = await Scene.set(credentials);
    await first.say(NEED, 'answered');
    await first.say(">PASSWORD:Verification Failed: 'Auth' ['account closed']\r\n>STATE:1,EXITING,auth-failure,,,,,\r\n", 'refused');
    expect(first.of('refused')[0]).toMatchObject({ reason: 'account closed' });
    const second = await Scene.set(credentials);
    expect(await second.say(NEED, 'locked')).toEqual([]);
  });

  it('tells by itself that there is something new', async () => {
    const password = new Source('wrong');
    const scene = await Scene.set(login(password));
    await scene.say(NEED, 'answered');
    password.value = 'new';
    await scene.say(REFUSED, 'refused');
    expect(scene.of('refused')[0]).toMatchObject({ hasNew: true });
    expect(await scene.say(NEED, 'answered')).toEqual(['username "Auth" "joe"', 'password "Auth" "new"']);
  });

  it.each([
    ['an expired token', ">PASSWORD:Verification Failed: 'Auth'\r\n>STATE:1,RECONNECTING,auth-failure (auth-token),,,,,\r\n"],
    ['a server that is not ready', ">PASSWORD:Verification Failed: 'Auth' ['TEMP[backoff 3]']\r\n>STATE:1,RECONNECTING,auth-temp-failure (server temporary reject),,,,,\r\n"],
    ['a server that is not ready, its state lines being off', ">PASSWORD:Verification Failed: 'Auth' ['TEMP']\r\n>HOLD:Waiting for hold release:1\r\n"],
  ])('does not take %s for a refusal', async (_, lines) => {
    const scene = await Scene.set(login(new Source('right')));
    await scene.say(NEED, 'answered');
    scene.openvpn.say(lines);
    expect(await scene.say(NEED, 'answered')).toEqual(['username "Auth" "joe"', 'password "Auth" "right"']);
    expect(scene.of('refused')).toEqual([]);
  });

  it('remembers what OpenVPN itself sent again and the server then refused', async () => {
    const scene = await Scene.set(login(new Source('expired since')));
    await scene.say(NEED, 'answered');
    scene.openvpn.say('>STATE:1,CONNECTED,SUCCESS,10.8.0.2,,,,\r\n>STATE:1,RECONNECTING,ping-restart,,,,,\r\n');
    await scene.say(REFUSED, 'refused');
    expect(await scene.say(NEED, 'locked')).toEqual([]);
  });

  it('answers a static challenge, apart or concatenated', async () => {
    const scene = await Scene.set({ ...login(new Source('pw')), code: new Source('123456') });
    const b64 = (text: string): string => Buffer.from(text).toString('base64');
    expect((await scene.say(">PASSWORD:Need 'Auth' username/password SC:1,PIN\r\n", 'answered'))[1]).toBe(`password "Auth" "SCRV1:${b64('pw')}:${b64('123456')}"`);
    expect((await scene.say(">PASSWORD:Need 'Auth' username/password SC:3,PIN\r\n", 'answered'))[1]).toBe('password "Auth" "pw123456"');
  });

  it('doubts a password that was refused with a code, until a person asks for more', async () => {
    const code = new Source('111111');
    const scene = await Scene.set({ ...login(new Source('pw')), code });
    const need = ">PASSWORD:Need 'Auth' username/password SC:0,PIN\r\n";
    await scene.say(need, 'answered');
    code.value = '222222';
    await scene.say(REFUSED, 'refused');
    const { asked } = code;
    expect(await scene.say(need, 'locked')).toEqual([]);
    expect(code.asked).toBe(asked);
    scene.credentials.memory.allowDoubtful();
    expect(await scene.say(need, 'answered')).toHaveLength(2);
  });

  it('does not doubt a password that was accepted, when only its code is stale at a reconnect', async () => {
    const code = new Source('111111');
    const scene = await Scene.set({ ...login(new Source('pw')), code });
    const need = ">PASSWORD:Need 'Auth' username/password SC:0,PIN\r\n";
    await scene.say(need, 'answered');
    const sentBefore = scene.openvpn.received.length;
    scene.openvpn.say('>STATE:1,CONNECTED,SUCCESS,10.8.0.2,,,,\r\n>STATE:1,RECONNECTING,ping-restart,,,,,\r\n');
    await scene.say(REFUSED, 'refused');
    code.value = '222222';
    await scene.say(need, 'answered');
    // As soon as it was let in, OpenVPN was told to forget what it had sent.
    expect(scene.openvpn.received.slice(sentBefore)).toMatchObject(['forget-passwords', expect.stringMatching(/^username/), expect.stringMatching(/^password/)]);
  });

  it('never gives a refused code again, whatever a person asks for', async () => {
    const scene = await Scene.set({ ...login(new Source('pw')), code: new Source('111111') });
    const need = ">PASSWORD:Need 'Auth' username/password SC:0,PIN\r\n";
    await scene.say(need, 'answered');
    await scene.say(REFUSED, 'refused');
    scene.credentials.memory.allowDoubtful();
    expect(await scene.say(need, 'locked')).toEqual([]);
  });

  it('answers a dynamic challenge with the state that the server gave', async () => {
    const scene = await Scene.set({ ...login(new Source('pw')), code: new Source('8675309') });
    await scene.say(NEED, 'answered');
    scene.openvpn.say(CHALLENGED);
    expect(await scene.say(NEED, 'answered')).toEqual(['username "Auth" "joe"', 'password "Auth" "CRV1::Om01::8675309"']);
    expect(scene.of('refused')).toEqual([]);
    expect(scene.of('asking').map(({ request }) => request)).toContainEqual({ kind: 'response', via: 'dynamic', text: 'Enter: PIN', echo: true, username: 'joe' });
  });

  it('locks when the answer to a dynamic challenge is refused', async () => {
    const scene = await Scene.set({ ...login(new Source('pw')), code: new Source('8675309') });
    await scene.say(NEED, 'answered');
    scene.openvpn.say(CHALLENGED);
    await scene.say(NEED, 'answered');
    await scene.say(REFUSED, 'refused');
    expect(scene.of('refused')[0]).toMatchObject({ hasNew: false });
    expect(await scene.say(NEED, 'locked')).toEqual([]);
  });

  it('answers a challenge that wants no response with none', async () => {
    const scene = await Scene.set(login(new Source('pw')));
    await scene.say(NEED, 'answered');
    scene.openvpn.say(CHALLENGED.replace('R,E', 'E'));
    expect((await scene.say(NEED, 'answered'))[1]).toBe('password "Auth" "CRV1::Om01::"');
  });

  it('answers CR_TEXT, and shows an address', async () => {
    const hook = { command: ['true'] };
    const scene = await Scene.set({ code: new Source('123456'), openUrl: hook });
    expect(await scene.say('>INFOMSG:CR_TEXT:R,E:Enter code\r\n', 'answered')).toEqual(['cr-response "MTIzNDU2"']);
    await scene.say('>INFOMSG:WEB_AUTH:hidden:https://a.test/?b=1\r\n', 'answered');
    await scene.say('>INFOMSG:OPEN_URL:https://c.test/\r\n', 'answered');
    expect(scene.of('asking').slice(1).map(({ request }) => request)).toEqual([
      { kind: 'open-url', url: 'https://a.test/?b=1', flags: ['hidden'] },
      { kind: 'open-url', url: 'https://c.test/', flags: [] },
    ]);
  });

  it('gives the passphrase of the key, and never a refused one', async () => {
    const credentials = new Credentials([new SourceProvider({ passphrase: new Source('wrong') })]);
    const scene = await Scene.set(credentials);
    expect(await scene.say(">PASSWORD:Need 'Private Key' password\r\n", 'answered')).toEqual(['password "Private Key" "wrong"']);
    await scene.say(">PASSWORD:Verification Failed: 'Private Key'\r\n>FATAL:Error: private key password verification failed\r\n", 'refused');
    expect(await (await Scene.set(credentials)).say(">PASSWORD:Need 'Private Key' password\r\n", 'locked')).toEqual([]);
  });

  it('remembers the last thing that was refused before OpenVPN ended', async () => {
    const credentials = new Credentials([new SourceProvider({ passphrase: new Source('wrong') })]);
    const scene = await Scene.set(credentials);
    await scene.say(">PASSWORD:Need 'Private Key' password\r\n", 'answered');
    scene.openvpn.say(">PASSWORD:Verification Failed: 'Private Key'\r\n");
    scene.openvpn.hangUp();
    await scene.say('', 'refused');
  });

  it('waits for a person, and forgets the question when OpenVPN is gone', async () => {
    const prompts = new AttendedPrompts();
    const scene = await Scene.set(new Credentials([new SourceProvider({}), prompts]));
    const asked: unknown[] = [];
    prompts.pending$.subscribe((request) => asked.push(request?.kind));
    await scene.say(NEED, 'asking');
    prompts.answer({ username: 'joe', secret: new Secret('pw') });
    await scene.say('', 'answered');
    expect(scene.openvpn.received.slice(-2)).toEqual(['username "Auth" "joe"', 'password "Auth" "pw"']);
    await scene.say(">NEED-OK:Need 'token' confirmation MSG:Insert it\r\n", 'asking');
    expect(() => {
      prompts.answer({ secret: new Secret('x') });
    }).toThrow('yes or no');
    prompts.answer({ ok: true });
    await scene.openvpn.heard(4);
    expect(scene.openvpn.received.at(-1)).toBe('needok "token" ok');
    await scene.say(NEED, 'asking');
    scene.openvpn.hangUp();
    while (asked.at(-1) !== undefined) await new Promise((resolve) => setTimeout(resolve, 1));
    expect(() => {
      prompts.answer({ ok: true });
    }).toThrow('nothing is asked');
  });

  it('says when OpenVPN could not take a password', async () => {
    const scene = await Scene.set(login(new Source('x'.repeat(200))));
    scene.openvpn.answers.set('version', 'OpenVPN Version: OpenVPN 2.6.14 [SSL (OpenSSL)]\r\nManagement Version: 5\r\nEND\r\n');
    expect(await scene.say(NEED, 'failed')).toEqual(['username "Auth" "joe"', 'version']);
    expect(scene.of('failed')[0]?.error.code).toBe('MANAGEMENT_INVALID');
  });

  it('sends a long one in several lines to who takes them', async () => {
    const scene = await Scene.set(login(new Source('x'.repeat(300))));
    scene.openvpn.answers.set('version', 'OpenVPN Version: OpenVPN 2.7.3 [PKCS11]\r\nManagement Version: 6\r\nEND\r\n').set('password "Auth"', '');
    const base64 = Buffer.from('x'.repeat(300)).toString('base64').match(/.{1,64}/g) ?? [];
    for (const line of base64) scene.openvpn.answers.set(line, '');
    await scene.say(NEED, 'answered');
    expect(scene.openvpn.received.slice(-base64.length - 3)).toEqual(['version 5', 'password "Auth"', ...base64, 'END']);
  });

  it('shows no secret in any report', async () => {
    const scene = await Scene.set({ ...login(new Source('hunter2')), code: new Source('hunter2') });
    await scene.say(">PASSWORD:Need 'Auth' username/password SC:1,PIN\r\n", 'answered');
    await scene.say(REFUSED, 'refused');
    await scene.say(NEED, 'locked');
    expect(inspect([scene.reports, scene.credentials], { depth: 12, showHidden: true })).not.toContain('hunter2');
    expect(JSON.stringify(scene.reports)).not.toContain('hunter2');
  });
});
