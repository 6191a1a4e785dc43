import { execa } from 'execa';

let realTimeCommand: Promise<readonly string[]> | undefined;

/**
 * The words before a command of the test's own equipment, a server for example: it stands for a machine of its own and
 * must not lose packets since it shares its processors with other work here. (A nice value would not do: the kernel
 * groups processes by session first.) Nothing where it is not permitted.
 */
export function realTime(): Promise<readonly string[]> {
  const command = ['chrt', '--rr', '1'];
  realTimeCommand ??= execa('chrt', [...command.slice(1), 'true']).then(() => command, () => []);
  return realTimeCommand;
}
