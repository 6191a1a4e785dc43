import type { Marks } from './ports.js';

/** Bits that neither other VPNs nor container networks commonly use. */
export const DEFAULT_MARK = 0x00c00000;

/** Our two bits: 01 OpenVPN's own socket, 10 released, 11 answered with an error. */
export function marksOf(mask: number): Marks {
  const low = mask & -mask;
  return { mask, transport: low >>> 0, release: (low << 1) >>> 0, reject: mask };
}
