import type { Readable } from 'node:stream';

/** What OpenVPN asks with before anything else where it has a management password: without a newline. */
const PROMPT = Buffer.from('ENTER PASSWORD:');
const NEWLINE = 0x0a;
const CARRIAGE_RETURN = 0x0d;

/** Longer than any line of OpenVPN (10 KiB of log text, 14 KiB of base64 to sign). */
export const LONGEST_LINE_BYTES = 64 * 1024;

export interface LineHandlers {
  /** OpenVPN asks for the management password; only before the first line. */
  prompt(): void;
  /** A line without its CR LF, cut at the limit. */
  line(line: string): void;
  /** The end of the input; `rest` is what came after the last newline. */
  end(rest: string): void;
}

/**
 * Keeps the unfinished line to itself: a prompt is recognised in it, and a line without end takes no more memory than the
 * limit (what is longer is dropped up to its newline).
 */
class WholeLines {
  readonly #handlers: LineHandlers;
  readonly #limitBytes: number;
  #held = Buffer.alloc(256);
  #heldBytes = 0;
  #promptPossible = true;

  constructor(handlers: LineHandlers, limitBytes: number) {
    this.#handlers = handlers;
    this.#limitBytes = limitBytes;
  }

  /** The unfinished line. */
  get rest(): Buffer {
    return Buffer.from(this.#held.subarray(0, this.#heldBytes));
  }

  take(chunk: Buffer): void {
    let input = this.#promptPossible ? this.#takePrompts(chunk) : chunk;
    for (let at = input.indexOf(NEWLINE); at >= 0; at = input.indexOf(NEWLINE)) {
      const line = input.subarray(0, Math.min(at, this.#limitBytes));
      if (this.#heldBytes === 0) {
        this.#tell(line);
      } else {
        this.#hold(line);
        this.#tell(this.rest);
        this.#heldBytes = 0;
      }
      input = input.subarray(at + 1);
    }
    this.#hold(input);
  }

  #tell(line: Buffer): void {
    this.#handlers.line(line.toString('utf8', 0, line.at(-1) === CARRIAGE_RETURN ? line.length - 1 : line.length));
  }

  #hold(piece: Buffer): void {
    const kept = piece.subarray(0, this.#limitBytes - this.#heldBytes);
    const wantedBytes = this.#heldBytes + kept.length;
    if (wantedBytes > this.#held.length) this.#held = Buffer.concat([this.rest], Math.max(wantedBytes, 2 * this.#held.length));
    kept.copy(this.#held, this.#heldBytes);
    this.#heldBytes = wantedBytes;
  }

  /** Several prompts may stand before one another, and before the line that ends them. */
  #takePrompts(chunk: Buffer): Buffer {
    let input = Buffer.concat([this.rest, chunk]);
    this.#heldBytes = 0;
    while (input.length >= PROMPT.length && input.subarray(0, PROMPT.length).equals(PROMPT)) {
      input = input.subarray(PROMPT.length);
      this.#handlers.prompt();
    }
    const possible = Math.min(input.length, PROMPT.length);
    this.#promptPossible = input.subarray(0, possible).equals(PROMPT.subarray(0, possible));
    return input;
  }
}

/** Socket bytes, however they are cut, to lines and prompts. */
export function readLines(input: Readable, handlers: LineHandlers, limitBytes: number = LONGEST_LINE_BYTES): void {
  const lines = new WholeLines(handlers, limitBytes);
  input.on('data', (chunk: Buffer) => { lines.take(chunk); });
  let ended = false;
  const finish = (): void => {
    if (ended) return;
    ended = true;
    handlers.end(lines.rest.toString());
  };
  input.once('end', finish);
  // A destroyed socket closes without an end.
  input.once('close', finish);
  input.resume(); // a listener's sockets are paused until somebody reads them
}
