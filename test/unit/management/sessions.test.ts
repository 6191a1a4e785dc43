import { PassThrough } from 'node:stream';
import { describe, expect, it } from '@jest/globals';
import { decodeEvent, type ManagementEvent } from '../../../src/management/index.js';
import { readLines } from '../../../src/management/lines.js';
import { transcript, transcriptNames } from './transcript.js';

/** What a session says, its replies as text. */
async function understood(chunks: readonly (string | Buffer)[]): Promise<(ManagementEvent | string)[]> {
  const input = new PassThrough();
  const seen: (ManagementEvent | string)[] = [];
  const ended = new Promise<void>((resolve) => {
    readLines(input, {
      prompt: () => void seen.push('prompt'),
      line: (line) => void seen.push(line.startsWith('>') ? decodeEvent(line) : line),
      end: (rest) => {
        if (rest !== '') seen.push(`cut off: ${rest}`);
        resolve();
      },
    });
  });
  for (const chunk of chunks) input.write(chunk);
  input.end();
  await ended;
  return seen;
}

describe.each(transcriptNames())('recorded session %s', (name) => {
  const chunks = transcript(name).flatMap(({ from, text }) => (from === 'openvpn' && text !== '' ? [text] : []));

  it('is understood whole', async () => {
    const seen = await understood(chunks);
    const events = seen.filter((item) => typeof item === 'object');
    expect(events.filter(({ type }) => type === 'unknown')).toEqual([]);
    expect(seen.filter((item) => typeof item === 'string' && !/^(SUCCESS: |ERROR: |prompt$)/.test(item))).toEqual([]);
    // Every `>` at the beginning of a line is one event.
    expect(events).toHaveLength(chunks.join('').split(/^>/m).length - 1);
  });

  it('gives the same events byte by byte and merged', async () => {
    const seen = await understood(chunks);
    const bytes = Buffer.from(chunks.join(''));
    expect(await understood([...bytes].map((byte) => Buffer.from([byte])))).toEqual(seen);
    expect(await understood([bytes])).toEqual(seen);
  });
});

it('there are recorded sessions', () => {
  expect(transcriptNames().length).toBeGreaterThanOrEqual(9);
});
