import { isIPv6 } from 'node:net';
import type { ClientEvent, InfoMessageEvent, ManagementEvent, PasswordEvent, StateEvent, UpDownEvent } from './events.js';
import { crText, dynamicChallenge, webProxy } from './challenge.js';
import { Secret } from './secret.js';

type Decoder = (text: string) => ManagementEvent | undefined;

/** Fields from the left, the last one being all that is left: texts have commas of their own. */
function fields(text: string, count: number): string[] {
  const found: string[] = [];
  let rest = text;
  while (found.length < count - 1) {
    const comma = rest.indexOf(',');
    if (comma < 0) break;
    found.push(rest.slice(0, comma));
    rest = rest.slice(comma + 1);
  }
  return [...found, rest];
}

/** A decimal number as OpenVPN prints it, and nothing else. */
function integer(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,16}$/.test(text) && Number.isSafeInteger(Number(text)) ? Number(text) : undefined;
}

/** The fields after the name and the description, from the right, since descriptions have commas of their own. */
const STATE_ADDRESSES = ['tunIpv4', 'remote', 'remotePort', 'local', 'localPort', 'tunIpv6'] as const;

/** `time,NAME,description,tun-ip4,remote,port,local,port[,tun-ip6]`: the text of a `>STATE:`, a line of the reply to `state`. */
export function decodeState(text: string): StateEvent | undefined {
  const all = text.split(',');
  const time = integer(all[0]);
  const name = all[1];
  const hasIpv6 = all.length >= 9 && isIPv6(all.at(-1) ?? '');
  const tail = hasIpv6 ? 6 : 5;
  if (time === undefined || name === undefined || !/^[A-Z?][A-Z0-9_]*$/.test(name) || all.length < 3 + tail) return undefined;
  const description = all.slice(2, all.length - tail).join(',');
  const addresses: { -readonly [K in (typeof STATE_ADDRESSES)[number]]?: StateEvent[K] } = {};
  for (const [index, value] of all.slice(all.length - tail).entries()) {
    const key = STATE_ADDRESSES[index];
    if (key === undefined || value === '') continue;
    if (key === 'remotePort' || key === 'localPort') {
      const port = integer(value);
      if (port === undefined) return undefined;
      addresses[key] = port;
    } else {
      addresses[key] = value;
    }
  }
  return { type: 'state', time, name, description, ...addresses };
}

function password(text: string): PasswordEvent | undefined {
  const need = /^Need '(.*?)' (username\/password|username|password)(?: SC:(\d),(.*))?$/s.exec(text);
  if (need) {
    const [, realm = '', asks, bits, challengeText = ''] = need;
    const event = { type: 'password', kind: 'need', realm, asks: asks as 'username/password' | 'username' | 'password' } as const;
    if (bits === undefined) return event;
    return { ...event, challenge: { text: challengeText, echo: (Number(bits) & 1) !== 0, concatenate: (Number(bits) & 2) !== 0 } };
  }
  // The vendor's text also has the reason alone: `Verification Failed: ['CRV1:…']`.
  const failed = /^Verification Failed: (?:'(.*?)')?(?: ?\['(.*?)(?:'\])?)?$/s.exec(text);
  if (failed && (failed[1] !== undefined || failed[2] !== undefined)) {
    const [, realm = 'Auth', reason] = failed;
    const event = { type: 'password', kind: 'verification-failed', realm } as const;
    if (reason === undefined) return event;
    const challenge = dynamicChallenge(reason);
    return challenge === undefined ? { ...event, reason } : { ...event, reason, challenge };
  }
  const token = /^Auth-Token:(.*)$/s.exec(text);
  return token ? { type: 'password', kind: 'auth-token', token: new Secret(token[1] ?? '') } : undefined;
}

function infoMessage(text: string): InfoMessageEvent {
  // A proxy's IPv6 address stands in brackets among the flags.
  const web = /^WEB_AUTH:((?:\[[^\]]*\]|[^:[])*):(.*)$/s.exec(text);
  if (web) {
    const flags = (web[1] ?? '').split(',').filter((flag) => flag !== '' && !flag.startsWith('proxy='));
    const proxy = webProxy(web[1] ?? '');
    return { type: 'infomsg', kind: 'web-auth', flags, url: web[2] ?? '', ...(proxy === undefined ? {} : { proxy }) };
  }
  if (text.startsWith('OPEN_URL:')) return { type: 'infomsg', kind: 'open-url', url: text.slice('OPEN_URL:'.length) };
  const challenge = crText(text);
  return challenge === undefined ? { type: 'infomsg', kind: 'other', text } : { type: 'infomsg', kind: 'cr-text', ...challenge };
}

/** Environment names whose value is somebody's password. */
const SECRET_NAMES = new Set(['password', 'auth_token']);

function envLine(text: string) {
  if (text === 'END') return { kind: 'env-end' } as const;
  const equals = text.indexOf('=');
  const name = equals < 0 ? text : text.slice(0, equals);
  const value = equals < 0 ? '' : text.slice(equals + 1);
  return SECRET_NAMES.has(name) ? ({ kind: 'env-secret', name, value: new Secret(value) } as const) : ({ kind: 'env', name, value } as const);
}

function updown(text: string): UpDownEvent | undefined {
  if (text === 'UP') return { type: 'updown', kind: 'up' };
  if (text === 'DOWN') return { type: 'updown', kind: 'down' };
  return text.startsWith('ENV,') ? { type: 'updown', ...envLine(text.slice(4)) } : undefined;
}

function client(text: string): ClientEvent | undefined {
  if (text.startsWith('ENV,')) return { type: 'client', ...envLine(text.slice(4)) };
  const [what = '', ...rest] = fields(text, 4);
  const clientId = integer(rest[0]);
  const keyId = integer(rest[1]);
  if (clientId === undefined) return undefined;
  const kind = what.toLowerCase().replace('_', '-');
  if (kind === 'established' || kind === 'disconnect') return rest.length === 1 ? { type: 'client', kind, clientId } : undefined;
  if (kind === 'address') {
    const [, address, primary] = rest;
    return address !== undefined && (primary === '0' || primary === '1') ? { type: 'client', kind, clientId, address, primary: primary === '1' } : undefined;
  }
  if (keyId === undefined) return undefined;
  if (kind === 'connect' || kind === 'reauth') return rest.length === 2 ? { type: 'client', kind, clientId, keyId } : undefined;
  return kind === 'cr-response' && rest[2] !== undefined ? { type: 'client', kind, clientId, keyId, response: new Secret(rest[2]) } : undefined;
}

/** A line of OpenVPN's log without secrets: OpenVPN hides what `password` carries, and shows what these two do. */
export function maskLog(line: string): string {
  return line.replace(/(MANAGEMENT: CMD '(?:cr-response|needstr) ).*/s, "$1[...]'");
}

function log(text: string): ManagementEvent | undefined {
  const [stamp, flags, message] = fields(text, 3);
  const time = integer(stamp);
  if (time === undefined || flags === undefined || message === undefined || !/^[IFNWD]*$/.test(flags)) return undefined;
  return { type: 'log', time, flags, text: maskLog(message) };
}

function hold(text: string): ManagementEvent {
  const seconds = integer(/:(\d+)$/.exec(text)?.[1]);
  return { type: 'hold', waitSeconds: seconds ?? 0, text };
}

function need(type: 'need-ok' | 'need-str', text: string): ManagementEvent | undefined {
  const match = /^Need '(.*?)' \S+ MSG:(.*)$/s.exec(text);
  return match ? { type, name: match[1] ?? '', text: match[2] ?? '' } : undefined;
}

function bytecount(text: string): ManagementEvent | undefined {
  const [bytesIn, bytesOut] = text.split(',', 3).map(integer);
  return bytesIn === undefined || bytesOut === undefined ? undefined : { type: 'bytecount', bytesIn, bytesOut };
}

function bytecountClient(text: string): ManagementEvent | undefined {
  const [clientId, bytesIn, bytesOut] = text.split(',', 4).map(integer);
  return clientId === undefined || bytesIn === undefined || bytesOut === undefined ? undefined : { type: 'bytecount-client', clientId, bytesIn, bytesOut };
}

function info(text: string): ManagementEvent {
  const version = integer(/^OpenVPN Management Interface Version (\d+)/.exec(text)?.[1]);
  return version === undefined ? { type: 'info', text } : { type: 'info', text, version };
}

function pkcs11Entry(text: string): ManagementEvent | undefined {
  const match = /^'(\d+)'(?:, ID:'(.*)', BLOB:'([^']*)')?$/s.exec(text);
  const index = integer(match?.[1]);
  if (index === undefined) return undefined;
  const [, , id, blob] = match ?? [];
  return { type: 'pkcs11-id-entry', index, ...(id === undefined ? {} : { id }), ...(blob === undefined ? {} : { blob }) };
}

function threeFields(build: (a: string, b: string, c: string) => ManagementEvent | undefined): Decoder {
  return (text) => {
    const [a, b, c] = fields(text, 3);
    return a === undefined || b === undefined || c === undefined ? undefined : build(a, b, c);
  };
}

const DECODERS = new Map<string, Decoder>([
  ['BYTECOUNT', bytecount],
  ['BYTECOUNT_CLI', bytecountClient],
  ['CLIENT', client],
  ['ECHO', (text) => {
    const [stamp, message] = fields(text, 2);
    const time = integer(stamp);
    return time === undefined || message === undefined ? undefined : { type: 'echo', time, text: message };
  }],
  ['FATAL', (text) => ({ type: 'fatal', text })],
  ['HOLD', hold],
  ['INFO', info],
  ['INFOMSG', infoMessage],
  ['LOG', log],
  ['NEED-CERTIFICATE', (hint) => ({ type: 'need-certificate', hint })],
  ['NEED-OK', (text) => need('need-ok', text)],
  ['NEED-STR', (text) => need('need-str', text)],
  ['NOTIFY', threeFields((severity, kind, text) => ({ type: 'notify', severity, kind, text }))],
  ['PASSWORD', password],
  ['PK_SIGN', (text) => {
    const [data = '', algorithm] = fields(text, 2);
    return algorithm === undefined ? { type: 'pk-sign', data } : { type: 'pk-sign', data, algorithm };
  }],
  ['RSA_SIGN', (data) => ({ type: 'rsa-sign', data })],
  ['PKCS11ID-COUNT', (text) => {
    const count = integer(text);
    return count === undefined ? undefined : { type: 'pkcs11-id-count', count };
  }],
  ['PKCS11ID-ENTRY', pkcs11Entry],
  ['PROXY', threeFields((number, protocol, host) => {
    const index = integer(number);
    return index === undefined ? undefined : { type: 'proxy', index, protocol, host };
  })],
  ['REMOTE', threeFields((host, port, protocol) => ({ type: 'remote', host, port, protocol }))],
  ['STATE', decodeState],
  ['UPDOWN', updown],
]);

/** One real-time line, which begins with `>`; never throws. */
export function decodeEvent(line: string): ManagementEvent {
  const colon = line.indexOf(':');
  const decoder = DECODERS.get(line.slice(1, colon < 0 ? undefined : colon));
  return (colon < 0 ? undefined : decoder?.(line.slice(colon + 1))) ?? { type: 'unknown', line };
}
