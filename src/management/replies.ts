import type { ReplyShape } from './commands.js';

/** `ignored`: not a line of this reply; `more`: taken; `done`: taken, and the reply is complete. */
export type Progress = 'ignored' | 'more' | 'done';

const isStatus = (line: string): boolean => line.startsWith('SUCCESS:') || line.startsWith('ERROR:');

/** Collects the lines of one reply, by its shape. */
export class ReplyCollector {
  readonly #shape: ReplyShape;
  readonly #parts: ('status' | 'block' | 'auto')[];
  readonly #lines: string[] = [];
  #error: string | undefined;
  #insideBlock = false;

  constructor(shape: ReplyShape) {
    this.#shape = shape;
    this.#parts = partsOf(shape);
  }

  /** The reply's lines without END. */
  get lines(): readonly string[] {
    return this.#lines;
  }

  /** The first `ERROR: …` that stood for a reply or a part of it. */
  get error(): string | undefined {
    return this.#error;
  }

  /** A line that does not begin with `>`. */
  line(line: string): Progress {
    if (this.#shape.kind === 'count') return this.#counted(line, this.#shape.lines);
    if (this.#shape.kind === 'event') return isStatus(line) ? this.#status(line) : 'ignored';
    const part = this.#parts[0];
    if (part === undefined) return 'ignored';
    if (!this.#insideBlock && isStatus(line) && (part !== 'block' || line.startsWith('ERROR:'))) return this.#status(line);
    if (part === 'status') return 'ignored';
    if (line === 'END') return this.#partDone();
    this.#insideBlock = true;
    this.#lines.push(line);
    return 'more';
  }

  /** A real-time line; it is an event all the same. */
  realTime(line: string): Progress {
    if (this.#shape.kind !== 'event' || !line.startsWith(this.#shape.prefix)) return 'ignored';
    this.#lines.push(line);
    return 'done';
  }

  #counted(line: string, wanted: number): Progress {
    if (isStatus(line)) return this.#status(line);
    this.#lines.push(line);
    return this.#lines.length >= wanted ? 'done' : 'more';
  }

  #status(line: string): Progress {
    if (line.startsWith('ERROR:')) this.#error ??= line;
    this.#lines.push(line);
    return this.#partDone();
  }

  #partDone(): Progress {
    this.#insideBlock = false;
    this.#parts.shift();
    return this.#parts.length === 0 ? 'done' : 'more';
  }
}

function partsOf(shape: ReplyShape): ('status' | 'block' | 'auto')[] {
  switch (shape.kind) {
    case 'status':
    case 'block':
    case 'auto':
      return [shape.kind];
    case 'sequence':
      return [...shape.parts];
    case 'count':
    case 'event':
    case 'none':
    case 'close':
      return [];
  }
}
