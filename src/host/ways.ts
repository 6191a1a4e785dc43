/** How packets leave this host for an address; `none` if they don't. Equal texts: the same way. */
export type Way = string;

/** Ways by address, by `default` the default routes, and by `lans` what is on link. */
export type Ways = ReadonlyMap<string, Way>;

export const DEFAULT_ROUTES = 'default';
export const LANS = 'lans';

interface IpLine {
  readonly ifname?: string;
  readonly flags?: readonly string[];
  readonly dst?: string;
  readonly gateway?: string;
  readonly via?: { readonly host?: string };
  readonly dev?: string;
  readonly prefsrc?: string;
  readonly metric?: number;
  readonly nexthops?: readonly { readonly gateway?: string; readonly dev?: string }[];
}

/** What `ip -json -force -batch -` is asked for: the devices, the routes, and, behind one device once more, how each address is reached. */
export function questions(addresses: readonly string[]): string {
  return ['link show', 'route show default', 'route show proto kernel', 'route show proto ra', 'link show dev lo', ...addresses.map((address) => `route get ${address}`)].map((line) => `${line}\n`).join('');
}

/** From its answers: one JSON array for each question that had an answer. Default routes through `own` devices don't count. */
export function readWays(output: string, addresses: readonly string[], own: ReadonlySet<string>): Ways {
  const answers = output.split('\n').filter((line) => line.trim() !== '').map((line) => JSON.parse(line) as readonly IpLine[]);
  const items = answers.flat();
  const carrier = new Map(items.flatMap(({ ifname, flags }) => (ifname === undefined ? [] : [[ifname, flags?.includes('UP') === true && flags.includes('LOWER_UP')] as const])));
  // A server on link that is its own gateway, as OpenVPN's redirect-gateway has it, is reached as before.
  const gatewayOf = ({ dst, gateway, via }: IpLine): string => (gateway === dst ? '' : (gateway ?? via?.host ?? ''));
  const wayOf = (line: IpLine): Way => {
    const { dev = '', prefsrc = '', metric = 0, nexthops } = line;
    return [gatewayOf(line), dev, prefsrc, metric, carrier.get(dev) === false ? 'down' : 'up', nexthops === undefined ? '' : JSON.stringify(nexthops)].join(' ');
  };
  const gets = answers.slice(answers.findLastIndex(([first]) => first?.ifname !== undefined) + 1).flat();
  const found = new Map(gets.flatMap((item) => (item.dst === undefined ? [] : [[canonical(item.dst), wayOf(item)] as const])));
  const routes = items.filter((item) => !gets.includes(item) && item.dev !== 'lo' && !(item.dev !== undefined && own.has(item.dev)));
  const defaults = routes.filter(({ dst }) => dst === 'default').map(wayOf);
  const lans = routes.flatMap(({ dst, dev, gateway }) => (dst === undefined || dst === 'default' || gateway !== undefined || dst.startsWith('fe80:') ? [] : [`${dst} ${dev ?? ''}`]));
  return new Map([
    ...addresses.map((address) => [address, found.get(canonical(address)) ?? 'none'] as const),
    [DEFAULT_ROUTES, defaults.sort().join('\n')],
    [LANS, [...new Set(lans)].sort().join('\n')],
  ]);
}

/** What was known before and is otherwise now. */
export function changedWays(before: Ways, now: Ways): ReadonlySet<string> {
  return new Set([...now].filter(([address, way]) => before.has(address) && before.get(address) !== way).map(([address]) => address));
}

/** The device that a line of `ip -oneline monitor link route` says is gone. */
export function goneDevice(line: string): string | undefined {
  return /^Deleted \d+: ([^:@]+)/.exec(line)?.[1];
}

/** Whether a line of `ip -oneline monitor link route` says that a route of ours to `lo` is gone. */
export function isLost(line: string, ownProtocol: number): boolean {
  return line.startsWith('Deleted ') && / dev lo( |$)/.test(line) && new RegExp(` proto ${ownProtocol}( |$)`).test(line);
}

/** Whether a line of `ip -oneline monitor link route` is about something that is not ours. */
export function isForeign(line: string, own: ReadonlySet<string>, ownProtocol: number): boolean {
  const device = /^(?:Deleted )?\d+: ([^:@]+)/.exec(line)?.[1];
  if (device !== undefined) return device !== 'lo' && !own.has(device);
  if (new RegExp(` proto ${ownProtocol}( |$)`).test(line)) return false;
  const devices = [...line.matchAll(/ dev (\S+)/g)].map(([, name = '']) => name);
  return devices.length === 0 || devices.some((name) => name !== 'lo' && !own.has(name));
}

/** One text for all spellings of an IPv6 address. */
function canonical(address: string): string {
  return address.includes(':') && URL.canParse(`http://[${address}]`) ? new URL(`http://[${address}]`).hostname : address;
}
