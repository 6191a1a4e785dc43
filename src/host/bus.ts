import { connect, type Socket } from 'node:net';
import { Observable } from 'rxjs';
import { DaemonError, messageOf } from '../core/errors.js';
import { decodeMessage, encodeCall, messageLength, type Message } from './bus-message.js';

const BUS = { destination: 'org.freedesktop.DBus', path: '/org/freedesktop/DBus', interface: 'org.freedesktop.DBus' } as const;

/** The socket of the system bus, from DBUS_SYSTEM_BUS_ADDRESS, or where the specification puts it. */
export function systemBusSocket(address: string | undefined): string {
  return /(?:^|;)unix:(?:[^;]*,)?path=([^,;]+)/.exec(address ?? '')?.[1] ?? '/run/dbus/system_bus_socket';
}

/**
 * The signals on a bus that match a rule ("Match Rules" of the D-Bus Specification), and before them one message of type
 * `return` when the bus has the rule. Subscribing connects, unsubscribing hangs up; nothing runs in between. Errors with
 * a DaemonError if there is no bus, if it refuses, or if it hangs up.
 */
export function busSignals(path: string, rule: string): Observable<Message> {
  return new Observable((subscriber) => {
    const fail = (message: string, cause?: unknown): void => { subscriber.error(new DaemonError('CONTROL_UNREACHABLE', message, { cause, place: path })); };
    const socket = connect(path);
    const connection = new Connection(socket, rule);
    socket.on('connect', () => { connection.authenticate(); });
    socket.on('data', (chunk) => {
      try {
        for (const message of connection.receive(chunk)) {
          if (message.type === 'error') fail(`the bus refuses: ${message.errorName ?? ''}`);
          else if (message.type === 'signal' ? message.sender !== BUS.destination : connection.isRuleSet(message)) subscriber.next(message);
        }
      } catch (cause) {
        fail(`the bus can't be understood: ${messageOf(cause)}`, cause);
      }
    });
    socket.on('error', (cause) => { fail(`no bus answers: ${messageOf(cause)}`, cause); });
    socket.on('close', () => { fail('the bus hung up'); });
    return () => { socket.destroy(); };
  });
}

/** From the first byte to the rule: `AUTH EXTERNAL` by our user id, which the kernel vouches for, then Hello, then AddMatch. */
class Connection {
  readonly #socket: Socket;
  readonly #rule: string;
  #pending: Buffer = Buffer.alloc(0);
  #greeted = false;
  #returns = 0;

  constructor(socket: Socket, rule: string) {
    this.#socket = socket;
    this.#rule = rule;
  }

  authenticate(): void {
    const uid = Buffer.from(String(process.getuid?.() ?? 0)).toString('hex');
    this.#socket.write(`\0AUTH EXTERNAL ${uid}\r\n`);
  }

  /** The whole messages that are there now. */
  receive(chunk: Buffer): readonly Message[] {
    this.#pending = Buffer.concat([this.#pending, chunk]);
    if (!this.#greeted && !this.#greet()) return [];
    const messages: Message[] = [];
    for (let length = messageLength(this.#pending); length !== undefined && length <= this.#pending.length; length = messageLength(this.#pending)) {
      messages.push(decodeMessage(this.#pending.subarray(0, length)));
      this.#pending = this.#pending.subarray(length);
    }
    return messages;
  }

  /** The second reply is the one to AddMatch. */
  isRuleSet({ type }: Message): boolean {
    if (type === 'return') this.#returns += 1;
    return type === 'return' && this.#returns === 2;
  }

  #greet(): boolean {
    const end = this.#pending.indexOf('\r\n');
    if (end < 0) return false;
    const line = this.#pending.toString('latin1', 0, end);
    if (!line.startsWith('OK ')) throw new RangeError(line);
    this.#pending = this.#pending.subarray(end + 2);
    this.#greeted = true;
    this.#socket.write(Buffer.concat([
      Buffer.from('BEGIN\r\n'),
      encodeCall({ serial: 1, ...BUS, member: 'Hello', texts: [] }),
      encodeCall({ serial: 2, ...BUS, member: 'AddMatch', texts: [this.#rule] }),
    ]));
    return true;
  }
}
