import { readFileSync, readdirSync } from 'node:fs';

export interface Chunk {
  readonly from: 'client' | 'openvpn';
  readonly text: string;
}

const folder = new URL('../../fixtures/management/', import.meta.url);

/** A Python string literal as the recorder wrote it: `\r`, `\n`, `\\`, and quotes. */
function unquote(literal: string): string {
  return literal.slice(1, -1).replace(/\\(.)/g, (_, character: string) => ({ r: '\r', n: '\n', t: '\t' })[character] ?? character);
}

/** A recorded session of OpenVPN 2.6.14, its remarks left out; see the README beside them. */
export function transcript(name: string): Chunk[] {
  return readFileSync(new URL(`${name}.transcript`, folder), 'utf8')
    .split('\n')
    .flatMap((line): Chunk[] => {
      const match = /^([<>]) [\d.]+ (.*)$/.exec(line);
      return match ? [{ from: match[1] === '>' ? 'client' : 'openvpn', text: unquote(match[2] ?? '') }] : [];
    });
}

export function transcriptNames(): string[] {
  return readdirSync(folder)
    .filter((name) => name.endsWith('.transcript'))
    .map((name) => name.replace('.transcript', ''));
}
