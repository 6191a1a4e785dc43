import { DaemonError } from '../core/errors.js';
import { checkCharacters, LONGEST_UNANSWERED_BYTES, parameters } from './parameters.js';

/** How OpenVPN answers a command. */
export type ReplyShape =
  /** One line, `SUCCESS: …` or `ERROR: …`. */
  | { readonly kind: 'status' }
  /** Lines and then END, or one `ERROR: …`. */
  | { readonly kind: 'block' }
  /** `state`, `log`, `echo`: one of the two for every parameter. */
  | { readonly kind: 'sequence'; readonly parts: readonly ('status' | 'block')[] }
  /** `test n`: so many lines without an END. */
  | { readonly kind: 'count'; readonly lines: number }
  /** A real-time line is the answer. */
  | { readonly kind: 'event'; readonly prefix: string }
  | { readonly kind: 'none' }
  /** The end of the connection. */
  | { readonly kind: 'close' }
  /** A command that is not known here: by its first line. */
  | { readonly kind: 'auto' };

/** A command that was checked, as it goes out. */
export interface PreparedCommand {
  /** With its newline, and for a command with a body the lines up to END. */
  readonly wire: string;
  /** What an error may show: without the secrets. */
  readonly shown: string;
  readonly shape: ReplyShape;
  /** Its parameters, its name the first of them. */
  readonly parameters: readonly string[];
  /** How lines begin that may come later because of this command, and that are nobody's reply. */
  readonly mayFollow: readonly string[];
  /** The same, if OpenVPN refused the first line of several and ran the others as commands. */
  readonly followsRefusal: readonly string[];
}

const STATUS_COMMANDS = [
  'auth-retry', 'bytecount', 'certificate', 'client-auth', 'client-auth-nt', 'client-deny', 'client-kill', 'client-pending-auth',
  'cr-response', 'env-filter', 'forget-passwords', 'hold', 'kill', 'load-stats', 'mute', 'nclients', 'needok', 'needstr', 'net', 'password',
  'pid', 'pk-sig', 'proxy', 'push-update-broad', 'push-update-cid', 'remote', 'rsa-sig', 'signal', 'username', 'verb',
];
const BLOCK_COMMANDS = ['help', 'remote-entry-count', 'remote-entry-get', 'status'];

const SHAPES = new Map<string, ReplyShape>([
  ...STATUS_COMMANDS.map((name) => [name, { kind: 'status' }] as const),
  ...BLOCK_COMMANDS.map((name) => [name, { kind: 'block' }] as const),
  ['exit', { kind: 'close' }],
  ['quit', { kind: 'close' }],
  ['pkcs11-id-count', { kind: 'event', prefix: '>PKCS11ID-COUNT:' }],
]);

/** C's atoi(), with which OpenVPN reads numbers. */
function atoi(text: string): number {
  return Number(/^\s*[+-]?\d+/.exec(text)?.[0] ?? 0);
}

function historyPart(parameter: string): 'status' | 'block' {
  return parameter === 'all' || (parameter !== 'on' && parameter !== 'off' && atoi(parameter) > 0) ? 'block' : 'status';
}

/** The shape of the reply to a command with these parameters, its name the first of them. */
export function replyShape([name, ...rest]: readonly string[]): ReplyShape {
  const [first] = rest;
  switch (name) {
    case undefined:
      return { kind: 'none' };
    case 'state':
      return { kind: 'sequence', parts: first === undefined ? ['block'] : rest.slice(0, 2).map(historyPart) };
    case 'log':
    case 'echo':
      return { kind: 'sequence', parts: first === undefined ? ['status'] : rest.slice(0, 2).map(historyPart) };
    case 'version':
      return { kind: first === undefined ? 'block' : 'none' };
    case 'test':
      if (first === undefined) return { kind: 'status' };
      return atoi(first) > 0 ? { kind: 'count', lines: atoi(first) } : { kind: 'none' };
    case 'pkcs11-id-get':
      return first === undefined ? { kind: 'status' } : { kind: 'event', prefix: `>PKCS11ID-ENTRY:'${atoi(first)}'` };
    default:
      return SHAPES.get(name) ?? { kind: 'auto' };
  }
}

/** Commands whose lines up to END follow; `password TYPE` only without a second parameter. */
function takesBody([name, ...rest]: readonly string[]): boolean {
  if (name === 'password') return rest.length === 1;
  return name === 'client-auth' ? rest.length >= 2 : name === 'pk-sig' || name === 'rsa-sig' || name === 'certificate';
}

/** The index of the first parameter that is secret. */
const SECRET_FROM = new Map([
  ['password', 2],
  ['needstr', 2],
  ['cr-response', 1],
]);

function shown(line: string, found: ReturnType<typeof parameters>): string {
  const from = found[SECRET_FROM.get(found[0]?.value ?? '') ?? found.length];
  return from === undefined ? line : `${line.slice(0, from.start)}[secret]`;
}

function checkBody(body: readonly string[]): void {
  for (const line of body) {
    checkCharacters(line, 'a line of the body');
    if (line === 'END') throw new DaemonError('MANAGEMENT_INVALID', 'a line of the body is END, which would end it');
    if (Buffer.byteLength(line) > LONGEST_UNANSWERED_BYTES) {
      throw new DaemonError('MANAGEMENT_INVALID', `a line of the body has more than ${LONGEST_UNANSWERED_BYTES} bytes`);
    }
  }
}

/**
 * Checks a command line and works out what its reply will look like.
 * @param line without a newline, its parameters quoted where they must be (`quote`)
 * @param body for client-auth, pk-sig, rsa-sig, certificate and `password TYPE`: the lines before END
 * @throws DaemonError MANAGEMENT_INVALID for anything that would not arrive as the one command that it is
 */
export function prepareCommand(line: string, body?: readonly string[]): PreparedCommand {
  return line === HOLD_RELEASE && body === undefined ? holdRelease : prepare(line, body);
}

function prepare(line: string, body?: readonly string[]): PreparedCommand {
  const found = parameters(line);
  const values = found.map(({ value }) => value);
  const name = values[0] ?? 'this line';
  const multiline = takesBody(values);
  if (body !== undefined && !multiline) throw new DaemonError('MANAGEMENT_INVALID', `${name} takes no further lines`);
  if (name === 'client-auth' && values.slice(1, 3).some((id) => !/^\d+$/.test(id))) {
    // Refused by OpenVPN, it would run the lines of the body as commands.
    throw new DaemonError('MANAGEMENT_INVALID', 'client-auth takes a client id and a key id, which are numbers');
  }
  checkBody(body ?? []);
  const shape = replyShape(values);
  if ((multiline || shape.kind === 'none') && Buffer.byteLength(line) > LONGEST_UNANSWERED_BYTES) {
    throw new DaemonError('MANAGEMENT_INVALID', `a line without a reply of its own has at most ${LONGEST_UNANSWERED_BYTES} bytes`);
  }
  return {
    wire: multiline ? [line, ...(body ?? []), 'END', ''].join('\n') : `${line}\n`,
    shown: shown(line, found),
    shape,
    parameters: values,
    // Silent up to OpenVPN 2.7.0, from 2.7.1 a SUCCESS for 4 and up: too late to wait for.
    mayFollow: name === 'version' && values[1] !== undefined ? ['SUCCESS: Management client version set to '] : [],
    followsRefusal: multiline ? [...(body ?? []), 'END'].map(() => 'ERROR: unknown command') : [],
  };
}

/** What packets wait for, and those of many tunnels at once: worked out ahead. */
const HOLD_RELEASE = 'hold release';
const holdRelease = prepare(HOLD_RELEASE);
