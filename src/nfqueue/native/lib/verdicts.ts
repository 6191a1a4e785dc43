import { invalid } from './errors.js';

/** What becomes of a packet. `stop` is `accept` that skips the hook's later chains on old kernels. */
export type VerdictName = 'accept' | 'drop' | 'repeat' | 'queue' | 'stop';

export interface VerdictOptions {
  readonly verdict: VerdictName;
  /** The packet's mark from now on, 0–0xffffffff; 0 is set, too. Left as it is if absent. */
  readonly mark?: number | undefined;
  /** With verdict `queue`: the queue that is to have the packet next, 0–65535. */
  readonly queue?: number | undefined;
}

export interface PacketVerdictOptions extends VerdictOptions {
  /** Replaces the packet from its network header on, 20 to 65,528 bytes. Its checksums are the caller's business. */
  readonly payload?: Uint8Array | undefined;
}

// linux/netfilter.h
const codes: Readonly<Record<VerdictName, number>> = { drop: 0, accept: 1, queue: 3, repeat: 4, stop: 5 };

/** An attribute's length has 16 bits, its header takes 4 bytes, and the kernel wants an IP header at least. */
const MIN_PAYLOAD = 20;
const MAX_PAYLOAD = 65_528;

export const NO_MARK = -1;

export function isUint32(value: unknown): value is number {
  return typeof value === 'number' && value >= 0 && value <= 0xffffffff && Number.isInteger(value);
}

/** The kernel's number for a verdict. */
export function verdictCode({ verdict, queue }: VerdictOptions): number {
  // callers without types may pass anything
  const code = Object.hasOwn(codes, verdict) ? codes[verdict] : undefined;
  if (code === undefined) throw invalid(`verdict ${JSON.stringify(verdict)} is none of ${Object.keys(codes).join(', ')}`);
  if (verdict !== 'queue') return code;
  if (!isUint32(queue) || queue > 0xffff) throw invalid("verdict 'queue' needs the number of a queue, 0 to 65535");
  return queue * 0x10000 + code;
}

export function verdictMark({ mark }: VerdictOptions): number {
  if (mark === undefined) return NO_MARK;
  if (!isUint32(mark)) throw invalid(`mark ${String(mark)} is not an integer from 0 to 0xffffffff`);
  return mark;
}

export function verdictPayload({ payload }: PacketVerdictOptions): Uint8Array | undefined {
  if (payload === undefined) return undefined;
  if (!ArrayBuffer.isView(payload) || payload.BYTES_PER_ELEMENT !== 1) throw invalid('payload is not a Uint8Array');
  if (payload.byteLength < MIN_PAYLOAD || payload.byteLength > MAX_PAYLOAD) {
    throw invalid(`payload has ${payload.byteLength} bytes, not ${MIN_PAYLOAD} to ${MAX_PAYLOAD}`);
  }
  return payload;
}

/** Ids as the addon takes them. */
export function toIds(ids: Iterable<number>): Uint32Array {
  return ids instanceof Uint32Array ? ids : copyIds(ids);
}

/** The same, in an array of their own. */
export function copyIds(ids: Iterable<number>): Uint32Array {
  if (ids instanceof Uint32Array) return ids.slice();
  const list = Array.isArray(ids) ? (ids as readonly number[]) : Array.from(ids);
  for (const id of list) checkId(id);
  return new Uint32Array(list);
}

export function checkId(id: number): void {
  if (!isUint32(id)) throw invalid(`packet id ${String(id)} is not an integer from 0 to 0xffffffff`);
}
