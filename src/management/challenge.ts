import type { DynamicChallenge, WebProxy } from './events.js';
import { Secret } from './secret.js';

function base64Text(text: string): string {
  return Buffer.from(text, 'base64').toString();
}

function responseFlags(flags: string): { echo: boolean; responseRequired: boolean } {
  const set = new Set(flags.split(','));
  return { echo: set.has('E'), responseRequired: set.has('R') };
}

/** `CRV1:flags:state:base64(user):text`, where the text may have colons. */
export function dynamicChallenge(reason: string): DynamicChallenge | undefined {
  const match = /^CRV1:([^:]*):([^:]*):([^:]*):(.*)$/s.exec(reason);
  if (!match) return undefined;
  const [, flags = '', stateId = '', username = '', text = ''] = match;
  return { text, ...responseFlags(flags), stateId, username: base64Text(username) };
}

/** `CR_TEXT:flags:text` of an INFOMSG. */
export function crText(message: string): { text: string; echo: boolean; responseRequired: boolean } | undefined {
  const match = /^CR_TEXT:([^:]*):(.*)$/s.exec(message);
  return match ? { text: match[2] ?? '', ...responseFlags(match[1] ?? '') } : undefined;
}

/** `proxy=host;port;base64(user);base64(password)` among the flags of a WEB_AUTH. */
export function webProxy(flags: string): WebProxy | undefined {
  const [host = '', port = '', username, password] = /(?:^|,)proxy=([^,]*)/.exec(flags)?.[1]?.split(';') ?? [];
  if (host === '' || !/^\d{1,5}$/.test(port)) return undefined;
  return {
    host,
    port: Number(port),
    ...(username === undefined ? {} : { username: base64Text(username) }),
    ...(password === undefined ? {} : { password: new Secret(base64Text(password)) }),
  };
}
