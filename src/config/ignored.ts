import type { IgnoredPackets, Protocol } from '../core/ports.js';

export const protocols: readonly Protocol[] = ['tcp', 'udp', 'icmp'];

type Ports = NonNullable<IgnoredPackets['ports']>;

/** What is ignored, or what is wrong with it. */
export type IgnoredResult = { readonly ignored: IgnoredPackets } | { readonly problem: string };

/** Reads `udp/123`, `udp/137-138`, `icmp`. */
export function parseIgnored(text: string): IgnoredResult {
  const [name = '', portText, ...more] = text.split('/');
  const protocol = protocols.find((known) => known === name);
  if (protocol === undefined) return { problem: `"${text}": "${name}" is none of ${protocols.join(', ')} (write it like udp/123)` };
  if (portText === undefined) return { ignored: { protocol } };
  if (protocol === 'icmp') return { problem: `"${text}": icmp has no ports` };
  const ports = more.length > 0 ? undefined : parsePorts(portText);
  if (ports === undefined) return { problem: `"${text}": "${[portText, ...more].join('/')}" is no port or range of ports, 1 to 65535 (write it like udp/123 or udp/137-138)` };
  return { ignored: { protocol, ports } };
}

/** Reads `123` and `137-138`; undefined if it is neither. */
export function parsePorts(text: string): Ports | undefined {
  const [, from = '', to = from] = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text) ?? [];
  const [first, last] = [Number(from), Number(to)];
  return first >= 1 && first <= last && last <= 65_535 ? { first, last } : undefined;
}
