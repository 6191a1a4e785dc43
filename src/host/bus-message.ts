/**
 * As much of D-Bus' wire format as it takes to call a method with texts and to understand a signal (D-Bus
 * Specification, "Message Protocol" and "Marshaling"). Pure.
 */

export interface MethodCall {
  readonly serial: number;
  readonly destination: string;
  readonly path: string;
  readonly interface: string;
  readonly member: string;
  /** All arguments are texts. */
  readonly texts: readonly string[];
}

export interface Message {
  readonly type: 'call' | 'return' | 'error' | 'signal' | 'unknown';
  readonly path?: string;
  readonly interface?: string;
  readonly member?: string;
  readonly errorName?: string;
  readonly sender?: string;
  readonly signature: string;
  readonly body: Buffer;
  readonly littleEndian: boolean;
}

const types = ['unknown', 'call', 'return', 'error', 'signal'] as const;
const HEADER_BYTES = 16;
/** The specification's own bound. */
const MAX_MESSAGE_BYTES = 128 << 20;

const align = (offset: number, to: number): number => Math.ceil(offset / to) * to;

class Writer {
  #bytes: Buffer[] = [];
  #length = 0;

  get length(): number {
    return this.#length;
  }

  pad(to: number): this {
    return this.raw(Buffer.alloc(align(this.#length, to) - this.#length));
  }

  raw(bytes: Buffer): this {
    this.#bytes.push(bytes);
    this.#length += bytes.length;
    return this;
  }

  byte(value: number): this {
    return this.raw(Buffer.from([value]));
  }

  uint32(value: number): this {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32LE(value);
    return this.pad(4).raw(bytes);
  }

  text(value: string): this {
    const bytes = Buffer.from(value, 'utf8');
    return this.uint32(bytes.length).raw(bytes).byte(0);
  }

  signature(value: string): this {
    return this.byte(value.length).raw(Buffer.from(value, 'latin1')).byte(0);
  }

  finish(): Buffer {
    return Buffer.concat(this.#bytes);
  }
}

/** A method call in little-endian order. */
export function encodeCall({ serial, destination, path, interface: name, member, texts }: MethodCall): Buffer {
  const body = new Writer();
  for (const value of texts) body.text(value);
  const fields = new Writer();
  const field = (code: number, type: string, value: string): void => { fields.pad(8).byte(code).signature(type).text(value); };
  field(1, 'o', path);
  field(2, 's', name);
  field(3, 's', member);
  field(6, 's', destination);
  if (texts.length > 0) fields.pad(8).byte(8).signature('g').signature('s'.repeat(texts.length));
  const [type, flags, version] = [1, 0, 1];
  const header = new Writer().raw(Buffer.from(['l'.charCodeAt(0), type, flags, version])).uint32(body.length).uint32(serial).uint32(fields.length);
  return header.raw(fields.finish()).pad(8).raw(body.finish()).finish();
}

/** How many bytes the message at the beginning of `bytes` has; undefined if that can't be said yet. Throws a RangeError if it is none. */
export function messageLength(bytes: Buffer): number | undefined {
  if (bytes.length < HEADER_BYTES) return undefined;
  const littleEndian = isLittleEndian(bytes);
  const length = align(HEADER_BYTES + uint32(bytes, 12, littleEndian), 8) + uint32(bytes, 4, littleEndian);
  if (length > MAX_MESSAGE_BYTES) throw new RangeError('a message longer than D-Bus has');
  return length;
}

/** A whole message. Throws a RangeError if it is cut or not one. */
export function decodeMessage(bytes: Buffer): Message {
  const littleEndian = isLittleEndian(bytes);
  const end = HEADER_BYTES + uint32(bytes, 12, littleEndian);
  const fields = new Map<number, string>();
  for (let offset = HEADER_BYTES; offset < end;) {
    offset = align(offset, 8);
    const { code, value, next } = readField(bytes, offset, littleEndian);
    if (value !== undefined) fields.set(code, value);
    offset = next;
  }
  const optional = (name: string, code: number): Record<string, string> => {
    const value = fields.get(code);
    return value === undefined ? {} : { [name]: value };
  };
  return {
    type: types[bytes.readUInt8(1)] ?? 'unknown',
    ...optional('path', 1), ...optional('interface', 2), ...optional('member', 3), ...optional('errorName', 4), ...optional('sender', 7),
    signature: fields.get(8) ?? '', body: bytes.subarray(align(end, 8)), littleEndian,
  };
}

/** The first argument, if it is a boolean. */
export function firstBoolean({ signature, body, littleEndian }: Message): boolean | undefined {
  return signature.startsWith('b') ? uint32(body, 0, littleEndian) !== 0 : undefined;
}

/** Header fields are numbers (reply serial, descriptors), signatures, or texts. */
function readField(bytes: Buffer, offset: number, littleEndian: boolean): { code: number; value: string | undefined; next: number } {
  const code = bytes.readUInt8(offset);
  const typeLength = bytes.readUInt8(offset + 1);
  const type = bytes.toString('latin1', offset + 2, offset + 2 + typeLength);
  const at = offset + 3 + typeLength;
  if (type === 'g') {
    const length = bytes.readUInt8(at);
    return { code, value: bytes.toString('latin1', at + 1, at + 1 + length), next: at + 2 + length };
  }
  const start = align(at, 4);
  if (type === 'u') return { code, value: undefined, next: start + 4 };
  if (type !== 's' && type !== 'o') throw new RangeError(`a header field of type ${type}`);
  const length = uint32(bytes, start, littleEndian);
  return { code, value: bytes.toString('utf8', start + 4, start + 4 + length), next: start + 5 + length };
}

function isLittleEndian(bytes: Buffer): boolean {
  const mark = String.fromCharCode(bytes.readUInt8(0));
  if (mark !== 'l' && mark !== 'B') throw new RangeError('neither byte order');
  return mark === 'l';
}

function uint32(bytes: Buffer, offset: number, littleEndian: boolean): number {
  return littleEndian ? bytes.readUInt32LE(offset) : bytes.readUInt32BE(offset);
}
