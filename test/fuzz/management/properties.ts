import { Duplex, PassThrough } from 'node:stream';
import { inspect, isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import { DaemonError } from '../../../src/core/errors.js';
import { CommandRefused, decodeEvent, ManagementClient, quote, type ManagementEvent } from '../../../src/management/index.js';
import { prepareCommand } from '../../../src/management/commands.js';
import { readLines } from '../../../src/management/lines.js';
import { cut, cuts, exchanged, realTimeLine, text, type Exchanged } from './arbitraries.js';
import { parseLine } from './reference.js';

/** A law of the library. Each run tells how many lines it put through. */
export interface Property {
  readonly name: string;
  /** Its part of the lines of the long run. Those of what OpenVPN says add up to 1; what we say comes on top. */
  readonly share: number;
  check(runs: number, seed: number): Promise<number>;
}

function must(condition: boolean, message: string, ...what: unknown[]): void {
  if (!condition) throw new Error(`${message}: ${inspect(what, { depth: 5 })}`);
}

type Read = { readonly prompts: number; readonly lines: readonly string[]; readonly rest: string };

function read(pieces: readonly Buffer[], limitBytes?: number): Promise<Read> {
  return new Promise((resolve) => {
    const input = new PassThrough();
    const lines: string[] = [];
    let prompts = 0;
    readLines(
      input,
      {
        prompt: () => {
          prompts += 1;
        },
        line: (line) => lines.push(line),
        end: (rest) => {
          resolve({ prompts, lines, rest });
        },
      },
      limitBytes,
    );
    for (const piece of pieces) input.write(piece);
    input.end();
  });
}

const bytes = fc.oneof(
  fc.uint8Array({ maxLength: 300 }).map((array) => Buffer.from(array)),
  fc.array(fc.oneof(realTimeLine, text), { maxLength: 40 }).map((lines) => Buffer.from(lines.join('\r\n'))),
  fc.tuple(fc.integer({ min: 0, max: 4 }), text).map(([prompts, rest]) => Buffer.from('ENTER PASSWORD:'.repeat(prompts) + rest)),
);

const anyBytesAnyChunks: Property = {
  name: 'any bytes: the chunks make no difference, and nothing is lost',
  share: 0.3,
  check: async (runs, seed) => {
    let count = 0;
    await fc.assert(
      fc.asyncProperty(bytes, cuts, async (input, sizes) => {
        const whole = await read([input]);
        must(isDeepStrictEqual(await read(cut(input, sizes)), whole), 'other lines from other chunks', input.toString('latin1'), sizes);
        must(whole.lines.length === input.filter((byte) => byte === 0x0a).length, 'not a line for every newline', whole);
        for (const line of whole.lines) decodeEvent(line);
        count += whole.lines.length;
      }),
      { numRuns: runs, seed },
    );
    return count;
  },
};

const boundedLines: Property = {
  name: 'any bytes: no line is longer than the limit',
  share: 0.1,
  check: async (runs, seed) => {
    let count = 0;
    await fc.assert(
      fc.asyncProperty(bytes, cuts, fc.integer({ min: 1, max: 50 }), async (input, sizes, limit) => {
        const { lines, rest } = await read(cut(input, sizes), limit);
        for (const line of [...lines, rest]) must(line.length <= limit, 'longer than the limit', line, limit);
        count += lines.length;
      }),
      { numRuns: runs, seed },
    );
    return count;
  },
};

const everyLineOneEvent: Property = {
  name: 'any real-time line: one event, of its own type or the line itself',
  share: 0.2,
  check: (runs, seed) => {
    fc.assert(
      fc.property(realTimeLine, (line) => {
        const event = decodeEvent(line);
        must(event.type !== 'unknown' || event.line === line, 'an unknown line that is not itself', line, event);
        must(line.includes(`>${event.type.toUpperCase().split('-')[0] ?? ''}`) || event.type === 'unknown' || event.type === 'bytecount-client', 'a type that the line does not name', line, event);
        JSON.stringify(event);
      }),
      { numRuns: runs, seed },
    );
    return Promise.resolve(runs);
  },
};

/** The OpenVPN end of a connection without a network. */
function connection(onLine: (line: string) => void): { readonly near: Duplex; readonly say: (bytes: Buffer) => void; readonly end: () => void } {
  let unfinished = '';
  const near: Duplex = new Duplex({
    read: () => undefined,
    write: (chunk: Buffer, _encoding, done) => {
      const lines = (unfinished + chunk.toString()).split('\n');
      unfinished = lines.pop() ?? '';
      for (const line of lines) onLine(line);
      done();
    },
    final: (done) => {
      near.push(null);
      done();
    },
  });
  return {
    near,
    say: (piece) => void near.push(piece),
    end: () => void near.push(null),
  };
}

interface Session {
  readonly exchanges: readonly Exchanged[];
  /** Real-time lines before each reply line, and after the last. */
  readonly noise: readonly (readonly string[])[];
  readonly sizes: readonly number[];
}

const session: fc.Arbitrary<Session> = fc.record({ exchanges: fc.array(exchanged, { minLength: 1, maxLength: 8 }), noise: fc.array(fc.array(realTimeLine, { maxLength: 5 }), { minLength: 1, maxLength: 10 }), sizes: cuts });

/** Plays a session; resolves with how many lines OpenVPN said. */
async function play({ exchanges, noise, sizes }: Session): Promise<number> {
  const said: string[] = ['>INFO:hello'];
  let turn = 0;
  let slot = 0;
  const peer = connection((line) => {
    const exchange = exchanges[turn];
    turn += 1;
    must(line === exchange?.command, 'another command than was sent', line, exchange);
    const lines: string[] = [];
    for (const replyLine of [...(exchange?.reply ?? []), undefined]) {
      lines.push(...(noise[slot % noise.length] ?? []));
      slot += 1;
      if (replyLine !== undefined) lines.push(replyLine);
    }
    said.push(...lines);
    for (const piece of cut(Buffer.from(lines.map((each) => `${each}\r\n`).join('')), sizes)) peer.say(piece);
  });
  peer.say(Buffer.from('>INFO:hello\r\n'));
  const client = await ManagementClient.greet(peer.near, { commandTimeoutMs: 500 }, 'fuzz');
  const events: ManagementEvent[] = [];
  client.events$.subscribe((event) => events.push(event));
  const outcomes = await Promise.all(exchanges.map(({ command }) => client.command(command).catch((error: unknown) => (error instanceof CommandRefused ? { refused: error.response } : error))));
  must(isDeepStrictEqual(outcomes, exchanges.map(({ outcome }) => outcome)), 'another reply than was given', outcomes, exchanges);
  peer.end();
  await client.closed;
  const expected = said.filter((line) => line.startsWith('>'));
  must(isDeepStrictEqual(events, wellFormed(expected).map(decodeEvent)), 'other events than were said', events, expected);
  return said.length;
}

/** As the lines arrive: a lone surrogate becomes U+FFFD on its way through UTF-8. */
function wellFormed(lines: readonly string[]): string[] {
  return lines.map((line) => Buffer.from(line).toString());
}

const anyInterleaving: Property = {
  name: 'any interleaving of replies and real-time lines: every reply to its command, every event once and in order',
  share: 0.4,
  check: async (runs, seed) => {
    let count = 0;
    await fc.assert(
      fc.asyncProperty(session, async (generated) => {
        count += await play(generated);
      }),
      { numRuns: runs, seed },
    );
    return count;
  },
};

const quoteArrives: Property = {
  name: 'any value: quoted it arrives as it is, or is refused before it is sent',
  share: 0.1,
  check: (runs, seed) => {
    fc.assert(
      fc.property(fc.oneof(text, fc.string({ unit: 'binary', maxLength: 300 })), (value) => {
        const line = refusedOr(() => prepareCommand(`password "Auth" ${quote(value)}`).wire);
        if (line === undefined) {
          must(/[\u0000-\u001f\u007f]|\p{Surrogate}/u.test(value) || Buffer.byteLength(value) > 256, 'refused without a reason', value);
          return;
        }
        must(line.indexOf('\n') === line.length - 1 && Buffer.byteLength(line) <= 1024, 'not one line', line);
        must(isDeepStrictEqual(parseLine(line.slice(0, -1)), ['password', 'Auth', value]), 'arrives as something else', value, line);
      }),
      { numRuns: runs, seed },
    );
    return Promise.resolve(runs);
  },
};

const linesReadAlike: Property = {
  name: 'any command line: read as OpenVPN reads it, or refused',
  share: 0.1,
  check: (runs, seed) => {
    fc.assert(
      fc.property(text, (line) => {
        const prepared = refusedOr(() => prepareCommand(line));
        if (prepared === undefined) return;
        must(isDeepStrictEqual(prepared.parameters, parseLine(line)), 'read otherwise', line, prepared.parameters, parseLine(line));
      }),
      { numRuns: runs, seed },
    );
    return Promise.resolve(runs);
  },
};

function refusedOr<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch (error) {
    must(error instanceof DaemonError && error.code === 'MANAGEMENT_INVALID', 'another error than a refusal', error);
    return undefined;
  }
}

export const properties: readonly Property[] = [anyBytesAnyChunks, boundedLines, everyLineOneEvent, anyInterleaving, quoteArrives, linesReadAlike];
