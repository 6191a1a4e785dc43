import { access, constants } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { DaemonError } from '../core/errors.js';

/** Rejects with PROGRAM_MISSING if the program can't be executed; names without a slash are looked for in PATH. */
export async function assertProgram(program: string, hint: string): Promise<void> {
  const folders = program.includes('/') ? [''] : (process.env['PATH'] ?? '').split(delimiter);
  const found = await Promise.all(folders.map((folder) => access(join(folder, program), constants.X_OK).then(() => true, () => false)));
  if (!found.includes(true)) throw new DaemonError('PROGRAM_MISSING', `${program} is not there, or can't be executed`, { hint });
}
