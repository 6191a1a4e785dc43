/** Words of a packet's row, as struct nfq_record of src/parse.h has them. */
export const WORD = {
  id: 0,
  present: 1,
  hook: 2,
  hwProtocol: 3,
  mark: 4,
  length: 5,
  payloadOffset: 6,
  payloadLength: 7,
  inDevice: 8,
  outDevice: 9,
  physicalIn: 10,
  physicalOut: 11,
  uid: 12,
  gid: 13,
  secondsHigh: 14,
  secondsLow: 15,
  microseconds: 16,
  skbInfo: 17,
  vlanProtocol: 18,
  vlanTci: 19,
  priority: 20,
  hwAddressLength: 21,
  hwAddressOffset: 22,
  ctInfo: 23,
  ctOffset: 24,
  ctLength: 25,
  secctxOffset: 26,
  secctxLength: 27,
  l2Offset: 28,
  l2Length: 29,
  family: 30,
} as const;

export const RECORD_WORDS = 32;

/** Bits of the word `present`: which of the others the kernel filled in. */
export const HAS = {
  mark: 1 << 0,
  payload: 1 << 1,
  inDevice: 1 << 2,
  outDevice: 1 << 3,
  physicalIn: 1 << 4,
  physicalOut: 1 << 5,
  uid: 1 << 6,
  gid: 1 << 7,
  timestamp: 1 << 8,
  skbInfo: 1 << 9,
  vlanProtocol: 1 << 10,
  vlanTci: 1 << 11,
  priority: 1 << 12,
  hwAddress: 1 << 13,
  ctInfo: 1 << 14,
  ct: 1 << 15,
  secctx: 1 << 16,
  l2: 1 << 17,
} as const;

/** Words of a reply's row: struct nfq_reply. */
export const REPLY = { sequence: 0, error: 1, type: 2, id: 3 } as const;
export const REPLY_WORDS = 4;

/** Message types that a reply may be about. */
export const MESSAGE = { verdict: 0x301, config: 0x302, verdictBatch: 0x303 } as const;

/** Where the addon writes what it found in a burst. */
export interface Rows {
  readonly records: Uint32Array;
  readonly replies: Uint32Array;
}

const shared = new Map<number, Rows>();

/** Rows for so many datagrams a read. Queues that read alike share them: a burst is done with before the next one is read. */
export function rowsFor(slots: number): Rows {
  const rows = shared.get(slots) ?? { records: new Uint32Array(slots * RECORD_WORDS), replies: new Uint32Array(slots * REPLY_WORDS) };
  shared.set(slots, rows);
  return rows;
}
