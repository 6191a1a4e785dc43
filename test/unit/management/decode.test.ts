import { describe, expect, it } from '@jest/globals';
import { decodeEvent, type ManagementEvent } from '../../../src/management/index.js';
import { Secret } from '../../../src/management/secret.js';

const known: [line: string, event: ManagementEvent][] = [
  ['>BYTECOUNT:54,18446744073', { type: 'bytecount', bytesIn: 54, bytesOut: 18446744073 }],
  ['>BYTECOUNT_CLI:3,10,20', { type: 'bytecount-client', clientId: 3, bytesIn: 10, bytesOut: 20 }],
  ['>CLIENT:CONNECT,0,1', { type: 'client', kind: 'connect', clientId: 0, keyId: 1 }],
  ['>CLIENT:REAUTH,7,2', { type: 'client', kind: 'reauth', clientId: 7, keyId: 2 }],
  ['>CLIENT:ESTABLISHED,7', { type: 'client', kind: 'established', clientId: 7 }],
  ['>CLIENT:DISCONNECT,7', { type: 'client', kind: 'disconnect', clientId: 7 }],
  ['>CLIENT:ADDRESS,7,10.8.0.2,1', { type: 'client', kind: 'address', clientId: 7, address: '10.8.0.2', primary: true }],
  ['>CLIENT:ENV,X509_0_CN=a=b,c', { type: 'client', kind: 'env', name: 'X509_0_CN', value: 'a=b,c' }],
  ['>CLIENT:ENV,empty=', { type: 'client', kind: 'env', name: 'empty', value: '' }],
  ['>CLIENT:ENV,END', { type: 'client', kind: 'env-end' }],
  ['>ECHO:1101519562,forget-passwords', { type: 'echo', time: 1101519562, text: 'forget-passwords' }],
  ['>ECHO:1,msg a, b', { type: 'echo', time: 1, text: 'msg a, b' }],
  ['>FATAL:Error: private key password verification failed', { type: 'fatal', text: 'Error: private key password verification failed' }],
  ['>HOLD:Waiting for hold release:32', { type: 'hold', waitSeconds: 32, text: 'Waiting for hold release:32' }],
  ['>HOLD:Waiting for hold release', { type: 'hold', waitSeconds: 0, text: 'Waiting for hold release' }],
  [">INFO:OpenVPN Management Interface Version 5 -- type 'help' for more info", { type: 'info', text: "OpenVPN Management Interface Version 5 -- type 'help' for more info", version: 5 }],
  ['>INFO:anything', { type: 'info', text: 'anything' }],
  ['>INFOMSG:WEB_AUTH::https://example.test/auth?x=1', { type: 'infomsg', kind: 'web-auth', flags: [], url: 'https://example.test/auth?x=1' }],
  ['>INFOMSG:WEB_AUTH:hidden,external:https://a:8/', { type: 'infomsg', kind: 'web-auth', flags: ['hidden', 'external'], url: 'https://a:8/' }],
  [
    '>INFOMSG:WEB_AUTH:proxy=[fd00::1];8080;dQ==;cA==,hidden:https://a/',
    { type: 'infomsg', kind: 'web-auth', flags: ['hidden'], url: 'https://a/', proxy: { host: '[fd00::1]', port: 8080, username: 'u', password: new Secret('p') } },
  ],
  ['>INFOMSG:OPEN_URL:https://example.test/', { type: 'infomsg', kind: 'open-url', url: 'https://example.test/' }],
  ['>INFOMSG:CR_TEXT:R,E:Enter: code', { type: 'infomsg', kind: 'cr-text', text: 'Enter: code', echo: true, responseRequired: true }],
  ['>INFOMSG:something else', { type: 'infomsg', kind: 'other', text: 'something else' }],
  ['>LOG:1795331427,,VERIFY OK: depth=1, CN=labca', { type: 'log', time: 1795331427, flags: '', text: 'VERIFY OK: depth=1, CN=labca' }],
  ['>LOG:1795331427,WN,a', { type: 'log', time: 1795331427, flags: 'WN', text: 'a' }],
  ['>NEED-OK:Need \'token\' confirmation MSG:Please insert: it', { type: 'need-ok', name: 'token', text: 'Please insert: it' }],
  ['>NEED-STR:Need \'name\' string MSG:Your name', { type: 'need-str', name: 'name', text: 'Your name' }],
  ['>NEED-CERTIFICATE:macosx-keychain:subject:o=OpenVPN', { type: 'need-certificate', hint: 'macosx-keychain:subject:o=OpenVPN' }],
  ['>NOTIFY:info,remote-exit,EXIT', { type: 'notify', severity: 'info', kind: 'remote-exit', text: 'EXIT' }],
  [">PASSWORD:Need 'Auth' username/password", { type: 'password', kind: 'need', realm: 'Auth', asks: 'username/password' }],
  [">PASSWORD:Need 'Auth' username", { type: 'password', kind: 'need', realm: 'Auth', asks: 'username' }],
  [">PASSWORD:Need 'Private Key' password", { type: 'password', kind: 'need', realm: 'Private Key', asks: 'password' }],
  [">PASSWORD:Need 'HTTP Proxy' username/password", { type: 'password', kind: 'need', realm: 'HTTP Proxy', asks: 'username/password' }],
  [
    ">PASSWORD:Need 'Auth' username/password SC:1,Please enter token PIN, now",
    { type: 'password', kind: 'need', realm: 'Auth', asks: 'username/password', challenge: { text: 'Please enter token PIN, now', echo: true, concatenate: false } },
  ],
  [
    ">PASSWORD:Need 'Auth' username/password SC:2,",
    { type: 'password', kind: 'need', realm: 'Auth', asks: 'username/password', challenge: { text: '', echo: false, concatenate: true } },
  ],
  [">PASSWORD:Verification Failed: 'Auth'", { type: 'password', kind: 'verification-failed', realm: 'Auth' }],
  [">PASSWORD:Verification Failed: 'Auth' ['it's: closed']", { type: 'password', kind: 'verification-failed', realm: 'Auth', reason: "it's: closed" }],
  [
    ">PASSWORD:Verification Failed: 'Auth' ['CRV1:R,E:Om01:Y3Ix:PIN: now']",
    {
      type: 'password',
      kind: 'verification-failed',
      realm: 'Auth',
      reason: 'CRV1:R,E:Om01:Y3Ix:PIN: now',
      challenge: { text: 'PIN: now', echo: true, responseRequired: true, stateId: 'Om01', username: 'cr1' },
    },
  ],
  ['>PK_SIGN:QUJD,RSA_PKCS1_PSS_PADDING,hashalg=SHA256,saltlen=digest', { type: 'pk-sign', data: 'QUJD', algorithm: 'RSA_PKCS1_PSS_PADDING,hashalg=SHA256,saltlen=digest' }],
  ['>PK_SIGN:QUJD', { type: 'pk-sign', data: 'QUJD' }],
  ['>RSA_SIGN:QUJD', { type: 'rsa-sign', data: 'QUJD' }],
  ['>PKCS11ID-COUNT:5', { type: 'pkcs11-id-count', count: 5 }],
  [">PKCS11ID-ENTRY:'1', ID:'a/b', BLOB:'QQ=='", { type: 'pkcs11-id-entry', index: 1, id: 'a/b', blob: 'QQ==' }],
  [">PKCS11ID-ENTRY:'1'", { type: 'pkcs11-id-entry', index: 1 }],
  ['>PROXY:1,TCP,vpn.example.com', { type: 'proxy', index: 1, protocol: 'TCP', host: 'vpn.example.com' }],
  ['>REMOTE:vpn.example.com,1194,udp', { type: 'remote', host: 'vpn.example.com', port: '1194', protocol: 'udp' }],
  ['>STATE:1795331408,WAIT,,,,,,', { type: 'state', time: 1795331408, name: 'WAIT', description: '' }],
  ['>STATE:1,RECONNECTING,auth-temp-failure (later, maybe),,,,,', { type: 'state', time: 1, name: 'RECONNECTING', description: 'auth-temp-failure (later, maybe)' }],
  [
    '>STATE:1795331408,CONNECTED,SUCCESS,10.8.0.2,127.0.0.1,1194,,',
    { type: 'state', time: 1795331408, name: 'CONNECTED', description: 'SUCCESS', tunIpv4: '10.8.0.2', remote: '127.0.0.1', remotePort: 1194 },
  ],
  [
    '>STATE:9,CONNECTED,SUCCESS,10.8.0.2,fd00::1,1194,fd00::2,40000,fd99::2',
    { type: 'state', time: 9, name: 'CONNECTED', description: 'SUCCESS', tunIpv4: '10.8.0.2', remote: 'fd00::1', remotePort: 1194, local: 'fd00::2', localPort: 40000, tunIpv6: 'fd99::2' },
  ],
  ['>STATE:9,ASSIGN_IP,,,,,,,fd99::2', { type: 'state', time: 9, name: 'ASSIGN_IP', description: '', tunIpv6: 'fd99::2' }],
  ['>STATE:9,BRAND_NEW,,,,,,', { type: 'state', time: 9, name: 'BRAND_NEW', description: '' }],
  ['>UPDOWN:UP', { type: 'updown', kind: 'up' }],
  ['>UPDOWN:DOWN', { type: 'updown', kind: 'down' }],
  ['>UPDOWN:ENV,dev=tunC', { type: 'updown', kind: 'env', name: 'dev', value: 'tunC' }],
  ['>UPDOWN:ENV,END', { type: 'updown', kind: 'env-end' }],
];

const unknown = [
  '>', '>:', '>NEWS:hello', '>STATE', '>STATE:', '>STATE:x,WAIT,,,,,,', '>STATE:1,WAIT,,,,,', '>STATE:1,CONNECTED,SUCCESS,10.8.0.2,127.0.0.1,port,,', '>BYTECOUNT:1', '>BYTECOUNT:1,x',
  '>CLIENT:CONNECT,1', '>CLIENT:DANCE,1,2', '>LOG:1,Q,x', '>LOG:soon,,x', ">PASSWORD:Need Auth", ">PASSWORD:Need 'Auth' blood", '>PASSWORD:', '>UPDOWN:SIDEWAYS', '>NEED-OK:x', '>state:1,WAIT,,,,,,', '> STATE:1,WAIT,,,,,,',
];

describe('a real-time line', () => {
  it.each(known)('%s', (line, event) => {
    expect(decodeEvent(line)).toEqual(event);
  });

  it.each(unknown)('%s is unknown, not an error and not lost', (line) => {
    expect(decodeEvent(line)).toEqual({ type: 'unknown', line });
  });
});

describe('secrets in real-time lines', () => {
  const lines = [
    '>PASSWORD:Auth-Token:hunter2',
    '>CLIENT:ENV,password=hunter2',
    '>CLIENT:CR_RESPONSE,1,2,hunter2',
    ">LOG:1795331427,D,MANAGEMENT: CMD 'cr-response hunter2'",
    '>LOG:1795331427,D,MANAGEMENT: CMD \'needstr "pin" hunter2\'',
    `>INFOMSG:WEB_AUTH:proxy=10.0.0.1;80;dQ==;${Buffer.from('hunter2').toString('base64')}:https://a/`,
  ];

  it.each(lines)('%s is typed, and does not show what it carries', (line) => {
    const event = decodeEvent(line);
    expect(event.type).not.toBe('unknown');
    expect(JSON.stringify(event)).not.toContain('hunter2');
  });

  it('can be had by who asks for them', () => {
    const event = decodeEvent('>PASSWORD:Auth-Token:hunter2');
    expect(event.type === 'password' && event.kind === 'auth-token' ? event.token.reveal() : undefined).toBe('hunter2');
  });
});
