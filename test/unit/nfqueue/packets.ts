/** Packets by hand, for the tests of the decoder. */
export function bytes(...parts: (number | readonly number[] | Uint8Array)[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => (typeof part === 'number' ? [part] : [...part])));
}

export const u16 = (value: number): number[] => [(value >> 8) & 0xff, value & 0xff];
export const u32 = (value: number): number[] => [...u16(value >>> 16), ...u16(value & 0xffff)];

export interface Ipv4Fields {
  readonly protocol: number;
  readonly content: Uint8Array;
  readonly options?: readonly number[];
  /** Flags and fragment offset as they stand in the header. */
  readonly fragment?: number;
  readonly totalLength?: number;
  readonly headerWords?: number;
}

export function ipv4({ protocol, content, options = [], fragment = 0, totalLength, headerWords }: Ipv4Fields): Uint8Array {
  const headerLength = 20 + options.length;
  const words = headerWords ?? headerLength / 4;
  return bytes(
    0x40 | words, 0xb9, u16(totalLength ?? headerLength + content.length), u16(0x1234), u16(fragment), 63, protocol, u16(0xbeef),
    [10, 1, 0, 2], [10, 2, 0, 2], options, content,
  );
}

export const SOURCE6 = [0xfd, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];
export const DESTINATION6 = [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0xff];

export function ipv6(next: number, content: Uint8Array, { payloadLength }: { payloadLength?: number } = {}): Uint8Array {
  return bytes(u32(0x6b9a_bcde), u16(payloadLength ?? content.length), next, 64, SOURCE6, DESTINATION6, content);
}

export function udp(content: Uint8Array, { length }: { length?: number } = {}): Uint8Array {
  return bytes(u16(4321), u16(53), u16(length ?? 8 + content.length), u16(0xabcd), content);
}

export function tcp({ flags = 0x02, options = [], dataOffset }: { flags?: number; options?: readonly number[]; dataOffset?: number } = {}): Uint8Array {
  const words = dataOffset ?? (20 + options.length) / 4;
  return bytes(u16(40000), u16(443), u32(0xfedcba98), u32(7), words << 4, flags, u16(64240), u16(0x1111), u16(0), options);
}
