import fc from 'fast-check';

/** One character of trouble: what separates, quotes, ends or means something, and what comes in several bytes. */
const character = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom(...'>:,\'"\\ =[]\r\t\0%#;0159AENDSUCERROR'.split('')) },
  { weight: 1, arbitrary: fc.string({ unit: 'binary', minLength: 1, maxLength: 1 }) },
);
export const text = fc.string({ unit: character, maxLength: 40 });

const number = fc.oneof(fc.nat().map(String), fc.constantFrom('', '-1', '99999999999999999999', '0x1', '1e3'));
const address = fc.oneof(fc.ipV4(), fc.ipV6(), fc.constant(''), text);

const keywords = [
  'BYTECOUNT', 'BYTECOUNT_CLI', 'CLIENT', 'ECHO', 'FATAL', 'HOLD', 'INFO', 'INFOMSG', 'LOG', 'NEED-CERTIFICATE', 'NEED-OK', 'NEED-STR', 'NOTIFY', 'PASSWORD',
  'PK_SIGN', 'RSA_SIGN', 'PKCS11ID-COUNT', 'PKCS11ID-ENTRY', 'PROXY', 'REMOTE', 'STATE', 'UPDOWN',
];

const beginnings = [
  'Need \'Auth\' ', 'Need \'Auth\' username/password', 'Need \'Auth\' username/password SC:1,', 'Verification Failed: \'Auth\'', 'Verification Failed: \'Auth\' [\'', 'Verification Failed: \'Auth\' [\'CRV1:R,E:a:Yg==:',
  'Auth-Token:', 'WEB_AUTH::', 'WEB_AUTH:proxy=[::1];1;;,hidden:', 'OPEN_URL:', 'CR_TEXT:R,E:', 'CONNECT,1,', 'ENV,', 'ENV,password=', 'CR_RESPONSE,1,2,', 'ADDRESS,1,10.0.0.1,', 'UP', '1,I,', '1,', '\'1\', ID:\'', 'Need \'x\' confirmation MSG:',
];

const state = fc.tuple(number, fc.constantFrom('CONNECTED', 'RECONNECTING', 'EXITING', 'WAIT', 'x'), text, address, address, number, address, number, fc.option(address)).map((fields) => `>STATE:${fields.filter((field) => field !== null).join(',')}`);

/** A line that begins with `>`, from the well-formed to the senseless. */
export const realTimeLine = fc
  .oneof(
    state,
    fc.tuple(fc.constantFrom(...keywords), fc.constantFrom('', ...beginnings), text).map(([keyword, beginning, rest]) => `>${keyword}:${beginning}${rest}`),
    fc.tuple(fc.constantFrom(...keywords), fc.array(number, { maxLength: 4 })).map(([keyword, numbers]) => `>${keyword}:${numbers.join(',')}`),
    text.map((rest) => `>${rest}`),
  )
  .map((line) => line.replaceAll('\n', '').replace(/\r+$/, ''));

/** Where to cut, as sizes of the pieces: one byte, a few, or much. */
export const cuts = fc.array(fc.oneof(fc.constant(1), fc.integer({ min: 1, max: 20 }), fc.integer({ min: 1, max: 2000 })), { minLength: 1, maxLength: 30 });

/** The bytes in pieces of those sizes, over and over. */
export function cut(bytes: Buffer, sizes: readonly number[]): Buffer[] {
  const pieces: Buffer[] = [];
  for (let at = 0; at < bytes.length; ) {
    const size = sizes[pieces.length % sizes.length] ?? 1;
    pieces.push(bytes.subarray(at, at + size));
    at += size;
  }
  return pieces;
}

const blockLine = text.map((line) => line.replaceAll('\n', '').replace(/\r+$/, '')).filter((line) => !line.startsWith('>') && line !== 'END' && !/^(SUCCESS|ERROR):/.test(line));
const success = text.map((rest) => `SUCCESS: ${rest}`.replaceAll('\n', '').replace(/\r+$/, ''));
const error = text.map((rest) => `ERROR: ${rest}`.replaceAll('\n', '').replace(/\r+$/, ''));

export interface Exchanged {
  readonly command: string;
  readonly reply: readonly string[];
  /** What the command resolves with, or the ERROR that it rejects with. */
  readonly outcome: readonly string[] | { readonly refused: string };
}

const status = fc.tuple(fc.constantFrom('pid', 'hold release', 'state on', 'log off', 'verb 4', 'signal SIGUSR2', 'username "a" "b"'), success).map(([command, line]): Exchanged => ({ command, reply: [line], outcome: [line] }));
const refused = fc.tuple(fc.constantFrom('pid', 'status 3', 'kill x', 'state 3', 'help', 'test 3'), error).map(([command, line]): Exchanged => ({ command, reply: [line], outcome: { refused: line } }));
const block = fc.tuple(fc.constantFrom('status 2', 'help', 'version', 'log all', 'state', 'echo 9'), fc.array(blockLine, { maxLength: 8 })).map(([command, lines]): Exchanged => ({ command, reply: [...lines, 'END'], outcome: lines }));
const both = fc.tuple(success, fc.array(blockLine, { maxLength: 5 })).map(([line, lines]): Exchanged => ({ command: 'log on all', reply: [line, ...lines, 'END'], outcome: [line, ...lines] }));
const counted = fc.array(blockLine, { minLength: 1, maxLength: 6 }).map((lines): Exchanged => ({ command: `test ${lines.length}`, reply: lines, outcome: lines }));

export const exchanged: fc.Arbitrary<Exchanged> = fc.oneof(status, refused, block, both, counted);
