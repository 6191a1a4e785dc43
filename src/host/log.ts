import { fstatSync } from 'node:fs';
import { isatty } from 'node:tty';
import { pino, type DestinationStream, type Logger } from 'pino';
import { prettyLine } from './pretty-line.js';

/** Where the log goes, and how what is there wants it. */
export interface LogTarget {
  /** Default: 2, standard error. */
  readonly descriptor?: number;
  readonly environment?: NodeJS.ProcessEnv;
}

/**
 * One line an event, written at once: nothing is left to flush, and no timer runs. JSON; to systemd's journal with each
 * line's priority before it; on a terminal for a person to read.
 */
export function createLogger(level: string, { descriptor = 2, environment = process.env }: LogTarget = {}): Logger {
  const lines = pino.destination({ dest: descriptor, sync: true });
  return pino(
    { level, base: null, timestamp: pino.stdTimeFunctions.isoTime, formatters: { level: (label) => ({ level: label }) } },
    isJournal(descriptor, environment) ? new Prioritized(lines) : isatty(descriptor) ? new Pretty(lines, environment) : lines,
  );
}

/** systemd.exec(5): $JOURNAL_STREAM is device and inode of what the journal reads; a child's may be something else. */
function isJournal(descriptor: number, environment: NodeJS.ProcessEnv): boolean {
  const { dev, ino } = fstatSync(descriptor);
  return environment['JOURNAL_STREAM'] === `${dev}:${ino}`;
}

/** pino's levels, by their numbers, as sd-daemon(3) has them: debug, informational, warning, error. */
const priorities = [[50, 3], [40, 4], [30, 6]] as const;
const DEBUG = 7;

class Prioritized implements DestinationStream {
  /** Has pino set `lastLevel` before it writes. */
  readonly [pino.symbols.needsMetadataGsym] = true;
  lastLevel = 0;
  readonly #lines: DestinationStream;

  constructor(lines: DestinationStream) {
    this.#lines = lines;
  }

  write(line: string): void {
    const [, priority] = priorities.find(([level]) => this.lastLevel >= level) ?? [0, DEBUG];
    this.#lines.write(`<${priority}>${line}`);
  }
}

class Pretty implements DestinationStream {
  readonly #lines: DestinationStream;
  readonly #colours: boolean;

  constructor(lines: DestinationStream, environment: NodeJS.ProcessEnv) {
    this.#lines = lines;
    // https://no-color.org
    this.#colours = (environment['NO_COLOR'] ?? '') === '' && environment['TERM'] !== 'dumb';
  }

  write(line: string): void {
    this.#lines.write(`${prettyLine(line, this.#colours)}\n`);
  }
}
