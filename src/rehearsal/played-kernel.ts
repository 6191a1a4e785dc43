import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { endianness } from 'node:os';

/** A packet as the kernel tells of it. */
export interface PlayedPacket {
  /** From its network header on. */
  readonly payload: Buffer;
  /** One that comes in by that device (linux/netfilter.h: PREROUTING), or one of this user that is to leave by it (OUTPUT). */
  readonly from: 'device' | { readonly uid: number };
  /** Index of the device. */
  readonly device: number;
}

/** Netlink speaks as the processor does; what is in its attributes is big endian. */
const little = endianness() === 'LE';
const HEADER_BYTES = 16;
/** linux/netlink.h, and NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_PACKET of linux/netfilter/nfnetlink_queue.h. */
const [ERROR, PACKET, F_ACK] = [2, 0x300, 4];
const ATTRIBUTE = { packetHeader: 1, inDevice: 5, outDevice: 6, payload: 10, uid: 16, gid: 17 } as const;
const HOOK = { prerouting: 0, output: 3 } as const;

/** Plays the kernel's part of queues that there are not: a packet is told of, and each verdict acknowledged. */
export class PlayedKernel {
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
  }

  /** Listens at `path` when it resolves. */
  static async listen(path: string): Promise<PlayedKernel> {
    const server = createServer().listen(path);
    await once(server, 'listening');
    return new PlayedKernel(server);
  }

  /** Resolves with the next queue that is opened. */
  async opened(): Promise<PlayedQueue> {
    const [socket] = (await once(this.#server, 'connection')) as [Socket];
    return new PlayedQueue(socket);
  }

  close(): void {
    this.#server.close();
  }
}

export class PlayedQueue {
  readonly #socket: Socket;
  #lastId = 0;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('error', () => undefined); // it ends with its queue
    socket.on('data', (messages) => { this.#acknowledge(messages); });
  }

  arrive({ payload, from, device }: PlayedPacket): void {
    const ipv6 = (payload[0] ?? 0) >> 4 === 6;
    const header = Buffer.alloc(7);
    header.writeUInt32BE(++this.#lastId);
    header.writeUInt16BE(ipv6 ? 0x86dd : 0x0800, 4);
    header[6] = from === 'device' ? HOOK.prerouting : HOOK.output;
    const sender = from === 'device' ? [attribute(ATTRIBUTE.inDevice, word(device))] : [attribute(ATTRIBUTE.outDevice, word(device)), attribute(ATTRIBUTE.uid, word(from.uid)), attribute(ATTRIBUTE.gid, word(0))];
    const generic = Buffer.of(ipv6 ? 10 : 2, 0, 0, 0);
    this.#socket.write(message(PACKET, 0, Buffer.concat([generic, attribute(ATTRIBUTE.packetHeader, header), ...sender, attribute(ATTRIBUTE.payload, payload)])));
  }

  close(): void {
    this.#socket.destroy();
  }

  #acknowledge(messages: Buffer): void {
    for (let rest = messages; rest.length >= HEADER_BYTES;) {
      const view = viewOf(rest);
      if ((view.getUint16(6, little) & F_ACK) !== 0) this.#socket.write(message(ERROR, view.getUint32(8, little), Buffer.concat([Buffer.alloc(4), rest.subarray(0, HEADER_BYTES)])));
      rest = rest.subarray(Math.max(HEADER_BYTES, aligned(view.getUint32(0, little))));
    }
  }
}

function message(type: number, sequence: number, body: Buffer): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  const view = viewOf(header);
  view.setUint32(0, HEADER_BYTES + body.length, little);
  view.setUint16(4, type, little);
  view.setUint32(8, sequence, little);
  return Buffer.concat([header, body]);
}

function attribute(type: number, value: Buffer): Buffer {
  const bytes = Buffer.alloc(aligned(4 + value.length));
  const view = viewOf(bytes);
  view.setUint16(0, 4 + value.length, little);
  view.setUint16(2, type, little);
  value.copy(bytes, 4);
  return bytes;
}

function word(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

const aligned = (length: number): number => (length + 3) & ~3;

function viewOf(bytes: Buffer): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}
