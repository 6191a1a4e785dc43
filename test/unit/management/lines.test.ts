import { PassThrough } from 'node:stream';
import { describe, expect, it } from '@jest/globals';
import { readLines } from '../../../src/management/lines.js';

type Seen = { line: string } | 'prompt' | { end: string };

async function read(chunks: readonly (string | Buffer)[], limitBytes?: number): Promise<Seen[]> {
  const input = new PassThrough();
  const seen: Seen[] = [];
  const ended = new Promise<void>((resolve) => {
    const handlers = {
      prompt: () => void seen.push('prompt'),
      line: (line: string) => void seen.push({ line }),
      end: (rest: string) => {
        seen.push({ end: rest });
        resolve();
      },
    };
    readLines(input, handlers, limitBytes);
  });
  for (const chunk of chunks) input.write(chunk);
  input.end();
  await ended;
  return seen;
}

describe('lines of the management socket', () => {
  it('are found in any chunks', async () => {
    expect(await read(['>ST', 'ATE:1\r', '\n>HOLD:x\r\nSUCC', 'ESS: y\r\n'])).toEqual([{ line: '>STATE:1' }, { line: '>HOLD:x' }, { line: 'SUCCESS: y' }, { end: '' }]);
  });

  it('keep a character whose bytes come apart', async () => {
    const bytes = Buffer.from('>LOG:ü€😀\r\n');
    expect(await read([...bytes].map((byte) => Buffer.from([byte])))).toEqual([{ line: '>LOG:ü€😀' }, { end: '' }]);
  });

  it('may be empty, and hold a carriage return of their own', async () => {
    expect(await read(['\r\na\rb\r\n\n'])).toEqual([{ line: '' }, { line: 'a\rb' }, { line: '' }, { end: '' }]);
  });

  it('say what the end of the input cut off', async () => {
    expect(await read(['END\r\n>STATE:17,CONN'])).toEqual([{ line: 'END' }, { end: '>STATE:17,CONN' }]);
  });

  it('are cut at the limit, and the next one is whole', async () => {
    const long = 'x'.repeat(50_000);
    const cut = [{ line: 'x'.repeat(1000) }, { line: 'next' }, { end: '' }];
    expect(await read([long, long, '\r\nnext\r\n'], 1000)).toEqual(cut);
    expect(await read([`${long}\r\nnext\r\n`], 1000)).toEqual(cut);
  });

  it('hold no more memory than the limit for a line without end', async () => {
    const chunk = Buffer.alloc(16_384, 'x');
    const before = process.memoryUsage().arrayBuffers;
    expect(await read(Array.from({ length: 2000 }, () => chunk), 4096)).toEqual([{ end: 'x'.repeat(4096) }]);
    // 32 MB went in.
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(1_000_000);
  });
});

describe('the password prompt', () => {
  it('has no newline and is seen all the same', async () => {
    expect(await read(['ENTER PASSWORD:'])).toEqual(['prompt', { end: '' }]);
  });

  it('comes again after a wrong password, in any chunks', async () => {
    const whole = 'ENTER PASSWORD:ENTER PASSWORD:SUCCESS: password is correct\r\n>INFO:x\r\n';
    const expected: Seen[] = ['prompt', 'prompt', { line: 'SUCCESS: password is correct' }, { line: '>INFO:x' }, { end: '' }];
    expect(await read([whole])).toEqual(expected);
    expect(await read(Array.from(whole))).toEqual(expected);
    for (let cut = 1; cut < whole.length; cut += 1) expect(await read([whole.slice(0, cut), whole.slice(cut)])).toEqual(expected);
  });

  it('is an ordinary line once a line has come', async () => {
    expect(await read(['>INFO:x\r\nENTER PASSWORD:\r\n'])).toEqual([{ line: '>INFO:x' }, { line: 'ENTER PASSWORD:' }, { end: '' }]);
  });

  it('is not seen in what only begins like it', async () => {
    expect(await read(['ENTER PASS', 'PORT\r\n'])).toEqual([{ line: 'ENTER PASSPORT' }, { end: '' }]);
  });
});
