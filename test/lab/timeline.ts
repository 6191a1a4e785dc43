/** Prints what happens, one line each, with the seconds since the start; in colour on a terminal only. */
export class Timeline {
  readonly #startMs = Date.now();
  readonly #out: Output;
  #silent = false;

  constructor(out: Output = process.stdout) {
    this.#out = out;
  }

  heading(text: string): void {
    this.#line(this.#paint('bold', text));
  }

  /** A step begins; `gate` is what the firewall does with packets to the protected network. */
  begins(title: string, gate: string): void {
    this.#row(this.#clock(), gate, this.#paint('bold', title));
  }

  /** What the daemon told, and when (milliseconds since the epoch). */
  event(text: string, atMs: number): void {
    this.#row(this.#clock(atMs), '', `  ${this.#paint('dim', text)}`);
  }

  seen(text: string, gate: string): void {
    this.#row(this.#clock(), gate, `  ${this.#paint('green', '✓')} ${text}`);
  }

  missed(text: string): void {
    this.#row(this.#clock(), '', `  ${this.#paint('red', '✗')} ${text}`);
  }

  text(text: string): void {
    this.#line(text);
  }

  /** Nothing is printed from now on. */
  end(): void {
    this.#silent = true;
  }

  #row(clock: string, gate: string, text: string): void {
    this.#line(`${clock}  ${gate.padEnd(gateWidth)}  ${text}`);
  }

  #clock(atMs = Date.now()): string {
    return this.#paint('dim', `${((atMs - this.#startMs) / 1000).toFixed(3).padStart(8)} s`);
  }

  #line(text: string): void {
    if (!this.#silent) this.#out.write(`${text}\n`);
  }

  #paint(style: keyof typeof styles, text: string): string {
    return this.#out.isTTY === true && process.env['NO_COLOR'] === undefined ? `\u001b[${styles[style]}m${text}\u001b[0m` : text;
  }
}

/** The longest is `bypass`. */
const gateWidth = 6;

/** A stream that may be a terminal. */
export interface Output {
  readonly isTTY?: boolean;
  write(text: string): unknown;
}

const styles = { bold: 1, dim: 2, green: 32, red: 31 } as const;
