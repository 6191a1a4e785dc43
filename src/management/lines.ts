import type { Readable } from 'node:stream';
import split2 from 'split2';

/** What OpenVPN asks with before anything else where it has a management password: without a newline. */
const PROMPT = Buffer.from('ENTER PASSWORD:');
const NEWLINE = 0x0a;

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
 * Passes whole lines on and keeps the unfinished one to itself: a prompt is recognised in it, and a line without end
 * takes no more memory than the limit (what is longer is dropped up to its newline).
 */
class WholeLines {
  readonly #onPrompt: () => void;
  readonly #onLines: (lines: Buffer) => void;
  readonly #limitBytes: number;
  #held = Buffer.alloc(256);
  #heldBytes = 0;
  #promptPossible = true;

  constructor(onPrompt: () => void, onLines: (lines: Buffer) => void, limitBytes: number) {
    this.#onPrompt = onPrompt;
    this.#onLines = onLines;
    this.#limitBytes = limitBytes;
  }

  /** The unfinished line. */
  get rest(): Buffer {
    return Buffer.from(this.#held.subarray(0, this.#heldBytes));
  }

  take(chunk: Buffer): void {
    let input = this.#promptPossible ? this.#takePrompts(chunk) : chunk;
    // Mostly a chunk is some whole lines, none of which can be too long.
    const whole = this.#heldBytes === 0 && input.length <= this.#limitBytes ? input.lastIndexOf(NEWLINE) + 1 : 0;
    if (whole > 0) {
      this.#onLines(input.subarray(0, whole));
      input = input.subarray(whole);
    }
    for (let at = input.indexOf(NEWLINE); at >= 0; at = input.indexOf(NEWLINE)) {
      this.#hold(input.subarray(0, at));
      this.#onLines(Buffer.concat([this.rest, input.subarray(at, at + 1)]));
      this.#heldBytes = 0;
      input = input.subarray(at + 1);
    }
    this.#hold(input);
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
      this.#onPrompt();
    }
    const possible = Math.min(input.length, PROMPT.length);
    this.#promptPossible = input.subarray(0, possible).equals(PROMPT.subarray(0, possible));
    return input;
  }
}

/** Socket bytes, however they are cut, to lines and prompts. */
export function readLines(input: Readable, handlers: LineHandlers, limitBytes: number = LONGEST_LINE_BYTES): void {
  const lines = split2();
  const whole = new WholeLines(() => { handlers.prompt(); }, (complete) => { lines.write(complete); }, limitBytes);
  // No stream of its own: what it passes on is taken at once, and a wake waits for each one that there is.
  input.on('data', (chunk: Buffer) => { whole.take(chunk); });
  const finish = (): void => { lines.end(); };
  input.once('end', finish);
  // A destroyed socket closes without an end.
  input.once('close', finish);
  lines.on('data', (line: string) => { handlers.line(line); });
  lines.once('end', () => { handlers.end(whole.rest.toString()); });
  input.resume(); // a listener's sockets are paused until somebody reads them
}
