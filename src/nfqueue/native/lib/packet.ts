import { decodeConntrack, type Conntrack } from './conntrack.js';
import { NfQueueError } from './errors.js';
import { HAS, RECORD_WORDS, WORD } from './records.js';

/** Where in netfilter a packet was queued; `ingress` and `other` for hooks of families beside IPv4, IPv6 and bridge. */
export type HookName = 'prerouting' | 'input' | 'forward' | 'output' | 'postrouting' | 'ingress' | 'other';

const hooks: readonly HookName[] = ['prerouting', 'input', 'forward', 'output', 'postrouting', 'ingress'];

/** IEEE 802.1Q tag of a bridged packet. */
export interface Vlan {
  /** Ethernet type of the tag: 0x8100 or 0x88a8. */
  readonly protocol: number;
  /** VLAN id, 0–4095. */
  readonly id: number;
  /** Priority code point, 0–7. */
  readonly priority: number;
  readonly dropEligible: boolean;
}

/** What a burst lies in: memory that the next burst overwrites. */
export interface Frame {
  readonly records: Uint32Array;
  bytes: Uint8Array;
  /** True while listeners are called. */
  live: boolean;
  /** Current name of a device by its index. */
  deviceName(index: number): string | undefined;
}

/** A packet by value, to keep. */
export type PacketSnapshot = Readonly<
  Pick<
    PacketView,
    | 'id' | 'hook' | 'hookNumber' | 'family' | 'hwProtocol' | 'mark' | 'length' | 'truncated' | 'inDevice' | 'inDeviceIndex'
    | 'outDevice' | 'outDeviceIndex' | 'physicalInDevice' | 'physicalInDeviceIndex' | 'physicalOutDevice'
    | 'physicalOutDeviceIndex' | 'uid' | 'gid' | 'timestamp' | 'hwAddress' | 'vlan' | 'priority' | 'gso' | 'checksumReady'
    | 'conntrack' | 'securityContext' | 'payload'
  >
>;

/**
 * One packet of a burst. A view: it reads from a buffer that is used again, so it is valid during the listener's call
 * only and throws ERR_STALE_VIEW afterwards. What is to be kept is copied: `id`, other values, `copyPayload()`,
 * or everything by `snapshot()`.
 */
export class PacketView {
  readonly #frame: Frame;
  readonly #row: number;

  constructor(frame: Frame, index: number) {
    this.#frame = frame;
    this.#row = index * RECORD_WORDS;
  }

  #word(word: number): number {
    if (!this.#frame.live) throw staleView();
    return this.#frame.records[this.#row + word] ?? 0;
  }

  #optional(word: number, bit: number): number | undefined {
    return (this.#word(WORD.present) & bit) === 0 ? undefined : this.#word(word);
  }

  #device(word: number, bit: number): string | undefined {
    const index = this.#optional(word, bit);
    return index === undefined ? undefined : this.#frame.deviceName(index);
  }

  #region(offset: number, length: number, bit: number): Uint8Array | undefined {
    if ((this.#word(WORD.present) & bit) === 0) return undefined;
    const start = this.#word(offset);
    return this.#frame.bytes.subarray(start, start + this.#word(length));
  }

  /** The kernel's number of the packet in its queue; what a verdict names. */
  get id(): number {
    return this.#word(WORD.id);
  }

  get hook(): HookName {
    return hooks[this.#word(WORD.hook)] ?? 'other';
  }

  /** As in linux/netfilter.h. */
  get hookNumber(): number {
    return this.#word(WORD.hook);
  }

  /** Address family of the rule: 2 IPv4, 7 bridge, 10 IPv6. */
  get family(): number {
    return this.#word(WORD.family) & 0xff;
  }

  /** Ethernet type: 0x0800 IPv4, 0x86dd IPv6, … */
  get hwProtocol(): number {
    return this.#word(WORD.hwProtocol);
  }

  /** 0 if none was set. */
  get mark(): number {
    return this.#optional(WORD.mark, HAS.mark) ?? 0;
  }

  /** Bytes of the whole packet from its network header on, copied or not; 0 with `copy: 'none'`: the kernel does not tell. */
  get length(): number {
    return this.#word(WORD.length);
  }

  /** Whether `payload` is less than the packet. */
  get truncated(): boolean {
    return this.#word(WORD.payloadLength) < this.#word(WORD.length);
  }

  /** Name that the device has now; undefined if there was none, or it is gone. */
  get inDevice(): string | undefined {
    return this.#device(WORD.inDevice, HAS.inDevice);
  }

  get inDeviceIndex(): number | undefined {
    return this.#optional(WORD.inDevice, HAS.inDevice);
  }

  get outDevice(): string | undefined {
    return this.#device(WORD.outDevice, HAS.outDevice);
  }

  get outDeviceIndex(): number | undefined {
    return this.#optional(WORD.outDevice, HAS.outDevice);
  }

  /** The bridge's port that the packet came in by. */
  get physicalInDevice(): string | undefined {
    return this.#device(WORD.physicalIn, HAS.physicalIn);
  }

  get physicalInDeviceIndex(): number | undefined {
    return this.#optional(WORD.physicalIn, HAS.physicalIn);
  }

  /** The bridge's port that the packet is to leave by. */
  get physicalOutDevice(): string | undefined {
    return this.#device(WORD.physicalOut, HAS.physicalOut);
  }

  get physicalOutDeviceIndex(): number | undefined {
    return this.#optional(WORD.physicalOut, HAS.physicalOut);
  }

  /** User of the local socket that sent it (flag `uidGid`). */
  get uid(): number | undefined {
    return this.#optional(WORD.uid, HAS.uid);
  }

  get gid(): number | undefined {
    return this.#optional(WORD.gid, HAS.gid);
  }

  /** Milliseconds since 1970 with a fraction of microseconds, where the kernel stamped the packet. */
  get timestamp(): number | undefined {
    if ((this.#word(WORD.present) & HAS.timestamp) === 0) return undefined;
    const seconds = this.#word(WORD.secondsHigh) * 2 ** 32 + this.#word(WORD.secondsLow);
    return seconds * 1000 + this.#word(WORD.microseconds) / 1000;
  }

  /** Link-layer source address, `02:00:00:00:00:01`; packets that came in only. */
  get hwAddress(): string | undefined {
    const bytes = this.#region(WORD.hwAddressOffset, WORD.hwAddressLength, HAS.hwAddress);
    return bytes === undefined ? undefined : Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join(':');
  }

  /** Bridged packets only. */
  get vlan(): Vlan | undefined {
    const tci = this.#optional(WORD.vlanTci, HAS.vlanTci);
    if (tci === undefined) return undefined;
    const protocol = this.#optional(WORD.vlanProtocol, HAS.vlanProtocol) ?? 0x8100;
    return { protocol, id: tci & 0xfff, priority: tci >> 13, dropEligible: (tci & 0x1000) !== 0 };
  }

  /** skb->priority, 0 if none was set. */
  get priority(): number {
    return this.#optional(WORD.priority, HAS.priority) ?? 0;
  }

  /** Whether it is larger than a frame and still to be cut (flag `gso`). */
  get gso(): boolean {
    return ((this.#optional(WORD.skbInfo, HAS.skbInfo) ?? 0) & 2) !== 0;
  }

  /** False if a checksum is still to be computed by the kernel or the device, so that the one in `payload` is wrong. */
  get checksumReady(): boolean {
    return ((this.#optional(WORD.skbInfo, HAS.skbInfo) ?? 0) & 1) === 0;
  }

  /** The connection that it belongs to (flag `conntrack`). */
  get conntrack(): Conntrack | undefined {
    const info = this.#optional(WORD.ctInfo, HAS.ctInfo);
    if (info === undefined) return undefined;
    return decodeConntrack(info, this.#region(WORD.ctOffset, WORD.ctLength, HAS.ct));
  }

  /** Label of the security module (flag `secctx`). */
  get securityContext(): string | undefined {
    const bytes = this.#region(WORD.secctxOffset, WORD.secctxLength, HAS.secctx);
    return bytes === undefined ? undefined : Buffer.from(bytes).toString('latin1').replace(/\0+$/, '');
  }

  /** What was copied of the packet, from its network header on. A view: see the class. */
  get payload(): Uint8Array {
    const start = this.#word(WORD.payloadOffset);
    const length = this.#word(WORD.payloadLength);
    return length === 0 ? new Uint8Array(0) : this.#frame.bytes.subarray(start, start + length);
  }

  /** The link-layer header of a bridged packet. A view. */
  get linkHeader(): Uint8Array | undefined {
    return this.#region(WORD.l2Offset, WORD.l2Length, HAS.l2);
  }

  /** What was copied of the packet, to keep. */
  copyPayload(): Uint8Array {
    return this.payload.slice();
  }

  /** All of it by value, to keep. */
  snapshot(): PacketSnapshot {
    return {
      id: this.id, hook: this.hook, hookNumber: this.hookNumber, family: this.family, hwProtocol: this.hwProtocol,
      mark: this.mark, length: this.length, truncated: this.truncated,
      inDevice: this.inDevice, inDeviceIndex: this.inDeviceIndex,
      outDevice: this.outDevice, outDeviceIndex: this.outDeviceIndex,
      physicalInDevice: this.physicalInDevice, physicalInDeviceIndex: this.physicalInDeviceIndex,
      physicalOutDevice: this.physicalOutDevice, physicalOutDeviceIndex: this.physicalOutDeviceIndex,
      uid: this.uid, gid: this.gid, timestamp: this.timestamp, hwAddress: this.hwAddress, vlan: this.vlan,
      priority: this.priority, gso: this.gso, checksumReady: this.checksumReady,
      conntrack: this.conntrack, securityContext: this.securityContext, payload: this.copyPayload(),
    };
  }
}

function staleView(): NfQueueError {
  return new NfQueueError('ERR_STALE_VIEW', 'a packet view was used after its listener had returned', {
    hint: 'copy what you keep during the call: its id, copyPayload() or snapshot()',
  });
}
