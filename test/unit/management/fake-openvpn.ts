import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export const GREETING = ">INFO:OpenVPN Management Interface Version 5 -- type 'help' for more info\r\n";

/** The OpenVPN side of a management socket, which says what the test tells it to. */
export class FakeOpenVpn {
  readonly path: string;
  /** Every line that clients sent. */
  readonly received: string[] = [];
  /** What is said at once to a line; without an entry nothing is. */
  readonly answers = new Map<string, string>();
  readonly #folder: string;
  readonly #server: Server;
  #socket: Socket | undefined;
  #unfinished = '';

  private constructor(folder: string, server: Server, greeting: string) {
    this.#folder = folder;
    this.path = join(folder, 'management.sock');
    this.#server = server;
    server.on('connection', (socket) => {
      this.#socket = socket;
      socket.on('error', () => undefined);
      socket.setEncoding('utf8').on('data', (text: string) => {
        this.#read(text);
      });
      socket.write(greeting);
    });
  }

  static async start(greeting: string = GREETING): Promise<FakeOpenVpn> {
    const fake = new FakeOpenVpn(await mkdtemp(join(tmpdir(), 'ood-management-')), createServer(), greeting);
    fake.#server.listen(fake.path);
    await once(fake.#server, 'listening');
    return fake;
  }

  say(text: string): void {
    this.#socket?.write(text);
  }

  /** Resolves when that many lines have come in all. */
  async heard(lines: number): Promise<void> {
    while (this.received.length < lines) await new Promise((resolve) => setTimeout(resolve, 1));
  }

  /** Resolves when a client is there. */
  async connected(): Promise<void> {
    while (this.#socket === undefined) await new Promise((resolve) => setTimeout(resolve, 1));
  }

  hangUp(): void {
    this.#socket?.end();
  }

  async stop(): Promise<void> {
    this.#socket?.destroy();
    this.#server.close();
    await rm(this.#folder, { recursive: true, force: true });
  }

  #read(text: string): void {
    const lines = (this.#unfinished + text).split('\n');
    this.#unfinished = lines.pop() ?? '';
    for (const line of lines) {
      this.received.push(line);
      const answer = this.answers.get(line);
      if (answer !== undefined) this.say(answer);
    }
  }
}
