import { join } from 'node:path';
import { expect, it } from '@jest/globals';
import { execa } from 'execa';
import { checkout } from '../../lab/paths.js';

const program = `import(${JSON.stringify(join(checkout, 'dist', 'host', 'log.js'))}).then(({ createLogger }) => createLogger('info').warn({ event: 'queue.overflow', tunnel: 'office' }, 'said'))`;

it('the log is for people where a terminal shows it, and JSON elsewhere', async () => {
  const env = { NO_COLOR: '1', JOURNAL_STREAM: '', PROGRAM: program };
  // script(1) gives its command a terminal of its own.
  const terminal = await execa('script', ['--quiet', '--return', '--command', `${process.execPath} -e "$PROGRAM"`, '/dev/null'], { env, stdin: 'ignore' });
  expect(terminal.stdout).toMatch(/^\d\d:\d\d:\d\d\.\d{3} warning: said {2}queue\.overflow tunnel=office\s*$/);
  const pipe = await execa(process.execPath, ['-e', program], { env });
  expect(JSON.parse(pipe.stderr)).toMatchObject({ level: 'warn', event: 'queue.overflow', msg: 'said' });
});
