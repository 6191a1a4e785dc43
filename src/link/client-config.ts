import { isIP } from 'node:net';

/** A server as the configuration names it. */
export interface Remote {
  readonly host: string;
  readonly port?: string;
  readonly proto?: string;
}

/** What this daemon must know of an OpenVPN client configuration. */
export interface ClientConfig {
  readonly remotes: readonly Remote[];
  readonly deviceType: 'tun' | 'tap';
  /** Some server may be reached by UDP: the end can be told to it. */
  readonly udp: boolean;
  /** Names of the options that it gives. */
  readonly options: ReadonlySet<string>;
  /** Options that this daemon gives itself and that would contradict it. */
  readonly conflicts: readonly string[];
}

// remap-usr1: SIGHUP would make OpenVPN read a configuration again that came by standard input, and end.
const OURS = ['daemon', 'management', 'management-client', 'management-hold', 'management-signal', 'management-query-passwords', 'management-query-remote', 'log', 'log-append', 'remap-usr1', 'syslog', 'writepid'];

interface Line {
  readonly text: string;
  /** None inside of an inline file (`<ca>` …), where nothing is an option. */
  readonly words: readonly string[];
}

/** Reads the options of a client configuration (openvpn(8), "OPTIONS" and "INLINE FILE SUPPORT"). */
export function readClientConfig(text: string): ClientConfig {
  const options = linesOf(text).filter(({ words }) => words.length > 0);
  const values = (name: string): (readonly string[])[] => options.filter(({ words }) => words[0] === name).map(({ words }) => words.slice(1));
  const last = (name: string): string => values(name).at(-1)?.[0] ?? '';
  const remotes = values('remote').map(([host = '', port, proto]) => ({ host, ...(port === undefined ? {} : { port }), ...(proto === undefined ? {} : { proto }) }));
  const protos = [...remotes.map(({ proto }) => proto ?? (last('proto') || 'udp')), ...(remotes.length === 0 ? [last('proto') || 'udp'] : [])];
  return {
    remotes,
    deviceType: last('dev-type') === 'tap' || (last('dev-type') === '' && last('dev').startsWith('tap')) ? 'tap' : 'tun',
    udp: protos.every((proto) => proto.startsWith('udp')),
    options: new Set(options.map(({ words }) => words[0] ?? '')),
    conflicts: [...new Set(options.map(({ words }) => words[0] ?? '').filter((name) => OURS.includes(name)))],
  };
}

/**
 * The configuration as OpenVPN gets it: servers by address, since a name look-up would be held like any other packet
 * and the dial would wait for itself; and without the options that this daemon gives itself.
 */
export function writeClientConfig(text: string, addressesOf: (host: string) => readonly string[]): string {
  let inConnection = false;
  return linesOf(text)
    .flatMap(({ text: line, words }) => {
      const [name = '', host = '', ...rest] = words;
      if (name === '<connection>') inConnection = true;
      if (name === '</connection>') inConnection = false;
      if (OURS.includes(name)) return [];
      if (name !== 'remote' || isIP(host) !== 0) return [line];
      const addresses = addressesOf(host);
      // A <connection> holds one remote.
      return (inConnection ? addresses.slice(0, 1) : addresses).map((address) => ['remote', address, ...forFamily(rest, address)].join(' '));
    })
    .join('\n');
}

/** `remote NAME 1194 udp` asks for any family; with an address the protocol's family must be the address's. */
function forFamily([port, proto]: readonly string[], address: string): string[] {
  const family = isIP(address) === 6 ? '6' : '4';
  return [...(port === undefined ? [] : [port]), ...(proto === undefined ? [] : [proto.replace(/^(udp|tcp)[46]?/, `$1${family}`)])];
}

function linesOf(text: string): Line[] {
  let inline: string | undefined;
  return text.split(/\r?\n/).map((line) => {
    const tag = /^<(\/?)([a-z0-9-]+)>$/.exec(line.trim());
    if (inline !== undefined) {
      const closes = tag?.[1] === '/' && tag[2] === inline;
      if (closes) inline = undefined;
      return { text: line, words: [] };
    }
    if (tag?.[1] === '' && tag[2] !== 'connection') {
      inline = tag[2];
      return { text: line, words: [] };
    }
    return { text: line, words: wordsOf(line) };
  });
}

/** Words as OpenVPN's parse_line() takes them: blanks part them, quotes and backslashes join, `#` and `;` begin a remark. */
function wordsOf(line: string): string[] {
  const words = [...line.matchAll(/"((?:[^"\\]|\\.)*)"|'([^']*)'|((?:[^\s"'#;\\]|\\.)(?:[^\s\\]|\\.)*)|([#;].*)/g)];
  const remark = words.findIndex((word) => word[4] !== undefined);
  return (remark < 0 ? words : words.slice(0, remark)).map(([, double, single, bare]) => single ?? (double ?? bare ?? '').replace(/\\(.)/g, '$1'));
}
