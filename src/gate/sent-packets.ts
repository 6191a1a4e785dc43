import { readFileSync } from 'node:fs';

/** Default routes lead there: from /proc/net/route and /proc/net/ipv6_route (net/ipv4/fib_trie.c, net/ipv6/route.c). */
export function defaultDevices(route4: string, route6: string): ReadonlySet<string> {
  const rows = (text: string): string[][] => text.split('\n').map((line) => line.trim().split(/\s+/));
  const four = rows(route4).filter(([, destination, , , , , , mask]) => destination === '00000000' && mask === '00000000').map(([device = '']) => device);
  const six = rows(route6).filter(([destination = '', length]) => /^0+$/.test(destination) && length === '00').map((row) => row.at(-1) ?? '');
  return new Set([...four, ...six].filter((device) => device !== 'lo' && device !== ''));
}

/** Packets sent by these devices, from /proc/net/dev: the tenth number of a line. */
export function sentBy(devices: ReadonlySet<string>, text: string): number {
  return text.split('\n').reduce((sum, line) => {
    const [name = '', numbers = ''] = line.split(':').map((part) => part.trim());
    return devices.has(name) ? sum + Number(numbers.split(/\s+/)[9] ?? 0) : sum;
  }, 0);
}

/**
 * Packets that have left this host by the devices of its default routes: no flush of a firewall touches these counters.
 * Without `own`, the tunnels' devices. 0 where they can't be read.
 */
export function sentPackets(own: ReadonlySet<string>): number {
  try {
    const net = (name: string): string => readFileSync(`/proc/thread-self/net/${name}`, 'utf8');
    const route6 = (() => { try { return net('ipv6_route'); } catch { return ''; } })();
    const devices = [...defaultDevices(net('route'), route6)].filter((device) => !own.has(device));
    return sentBy(new Set(devices), net('dev'));
  } catch {
    return 0;
  }
}
