import { execa } from 'execa';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';

/** A real message bus of its own. */
export async function startBus(folder: string): Promise<{ path: string; stop: () => Promise<void> }> {
  const path = join(folder, 'bus');
  const config = join(folder, 'bus.conf');
  writeFileSync(config, `<busconfig><type>system</type><listen>unix:path=${path}</listen><auth>EXTERNAL</auth>
    <policy context="default"><allow user="*"/><allow own="*"/><allow send_destination="*"/><allow send_type="signal"/>
    <allow receive_type="signal"/><allow receive_type="method_return"/><allow receive_type="error"/></policy></busconfig>`);
  const daemon = execa('dbus-daemon', [`--config-file=${config}`, '--nofork', '--print-address'], { reject: false });
  await once(daemon.stdout, 'data');
  return {
    path,
    stop: async () => {
      daemon.kill();
      await daemon;
    },
  };
}

const align = (bytes: Buffer, to: number): Buffer => Buffer.concat([bytes, Buffer.alloc((to - (bytes.length % to)) % to)]);

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** Lengths in front, a zero behind. */
const text = (value: string): Buffer => Buffer.concat([uint32(value.length), Buffer.from(`${value}\0`)]);

interface Fields {
  readonly path: string;
  readonly interface: string;
  readonly member: string;
  readonly destination?: string;
  readonly signature: string;
}

/** A message in big-endian order, which no x86 program would send: the bus passes it on as it is. */
function message(type: number, serial: number, { path, interface: name, member, destination, signature }: Fields, body: Buffer): Buffer {
  const parts: (readonly [number, string, Buffer])[] = [[1, 'o', text(path)], [2, 's', text(name)], [3, 's', text(member)]];
  if (destination !== undefined) parts.push([6, 's', text(destination)]);
  parts.push([8, 'g', Buffer.from(`\x01${signature}\0`.replace('\x01', String.fromCharCode(signature.length)))]);
  let fields: Buffer = Buffer.alloc(0);
  for (const [code, kind, value] of parts) fields = Buffer.concat([align(fields, 8), Buffer.from([code, 1, kind.charCodeAt(0), 0]), value]);
  const header = Buffer.concat([Buffer.from(['B'.charCodeAt(0), type, 1, 1]), uint32(body.length), uint32(serial), uint32(fields.length), fields]);
  return Buffer.concat([align(header, 8), body]);
}

/** What systemd-logind says of sleeping, from its name on the bus. */
export class FakeLogind {
  readonly #socket: Socket;
  #serial = 10;

  private constructor(socket: Socket) {
    this.#socket = socket;
  }

  static async start(path: string): Promise<FakeLogind> {
    const socket = connect(path);
    await once(socket, 'connect');
    socket.write(`\0AUTH EXTERNAL ${Buffer.from(String(process.getuid!())).toString('hex')}\r\n`);
    await once(socket, 'data');
    const bus = { path: '/org/freedesktop/DBus', interface: 'org.freedesktop.DBus', destination: 'org.freedesktop.DBus' };
    socket.write('BEGIN\r\n');
    const hello = message(1, 1, { ...bus, member: 'Hello', signature: '' }, Buffer.alloc(0));
    socket.write(hello);
    socket.write(message(1, 2, { ...bus, member: 'RequestName', signature: 'su' }, Buffer.concat([align(text('org.freedesktop.login1'), 4), uint32(4)])));
    socket.resume();
    return new FakeLogind(socket);
  }

  prepareForSleep(start: boolean): void {
    this.#serial += 1;
    const fields = { path: '/org/freedesktop/login1', interface: 'org.freedesktop.login1.Manager', member: 'PrepareForSleep', signature: 'b' };
    this.#socket.write(message(4, this.#serial, fields, uint32(start ? 1 : 0)));
  }

  close(): void {
    this.#socket.destroy();
  }
}
