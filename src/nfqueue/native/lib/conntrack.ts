/** How a packet relates to its connection (enum ip_conntrack_info). */
export type ConntrackState = 'new' | 'established' | 'related' | 'untracked' | 'unknown';

export interface Conntrack {
  readonly state: ConntrackState;
  /** Whether the packet goes in the direction of the answers. */
  readonly reply: boolean;
  readonly id: number | undefined;
  readonly mark: number | undefined;
  /** Bits of enum ip_conntrack_status. */
  readonly status: number | undefined;
  readonly zone: number | undefined;
}

// enum ctattr_type of linux/netfilter/nfnetlink_conntrack.h
const CTA = { status: 3, mark: 8, id: 12, zone: 18 } as const;

const states: readonly { state: ConntrackState; reply: boolean }[] = [
  { state: 'established', reply: false },
  { state: 'related', reply: false },
  { state: 'new', reply: false },
  { state: 'established', reply: true },
  { state: 'related', reply: true },
  { state: 'unknown', reply: false },
  { state: 'unknown', reply: false },
  { state: 'untracked', reply: false },
];

/** Values of the attributes on the upper level, by type. */
function readAttributes(bytes: Uint8Array): Map<number, DataView> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const found = new Map<number, DataView>();
  for (let at = 0; at + 4 <= view.byteLength; ) {
    // attribute headers are in the machine's own order, their values in network order
    const length = view.getUint16(at, littleEndian);
    if (length < 4 || at + length > view.byteLength) break;
    found.set(view.getUint16(at + 2, littleEndian) & 0x3fff, new DataView(bytes.buffer, bytes.byteOffset + at + 4, length - 4));
    at += (length + 3) & ~3;
  }
  return found;
}

const littleEndian = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

/** Reads what the kernel says of a packet's connection; `attributes` is the content of NFQA_CT, if there was one. */
export function decodeConntrack(info: number, attributes: Uint8Array | undefined): Conntrack {
  const found = attributes === undefined ? new Map<number, DataView>() : readAttributes(attributes);
  const word = (type: number): number | undefined => {
    const value = found.get(type);
    return value !== undefined && value.byteLength >= 4 ? value.getUint32(0) : undefined;
  };
  const zone = found.get(CTA.zone);
  return {
    ...(states[info] ?? { state: 'unknown', reply: false }),
    id: word(CTA.id),
    mark: word(CTA.mark),
    status: word(CTA.status),
    zone: zone !== undefined && zone.byteLength >= 2 ? zone.getUint16(0) : undefined,
  };
}
