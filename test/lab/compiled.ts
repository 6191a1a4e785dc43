import { createHash, randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { checkout, programPath } from './paths.js';

const compiling = new Map<string, Promise<string>>();

/** The path of programs/NAME.c compiled: once per version of the source, into build/ of the checkout. */
export function compiled(name: string): Promise<string> {
  const found = compiling.get(name) ?? compile(name);
  compiling.set(name, found);
  return found;
}

async function compile(name: string): Promise<string> {
  const source = programPath(`${name}.c`);
  const version = createHash('sha256').update(readFileSync(source)).digest('hex').slice(0, 12);
  const folder = join(checkout, 'build');
  const binary = join(folder, `${name}-${version}`);
  if (existsSync(binary)) return binary;
  mkdirSync(folder, { recursive: true });
  const unfinished = `${binary}.${randomBytes(3).toString('hex')}`;
  await execa('cc', ['-std=gnu11', '-O2', '-Wall', '-Wextra', '-Werror', '-static', '-o', unfinished, source]);
  renameSync(unfinished, binary);
  return binary;
}
