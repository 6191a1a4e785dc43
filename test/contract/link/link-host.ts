// CommandLinks in the namespace that this program is started in. One JSON object a line: on standard input what to do
// ({link, open: OPTIONS} or {link, call: METHOD}), on standard output what comes of it ({link, type, …}).
import { createInterface } from 'node:readline';
import type { LogFields } from '../../../src/core/ports.js';
import { systemClock } from '../../../src/host/clock.js';
import { CommandLink, type CommandOptions } from '../../../src/link/command.js';

export type HostCall = 'dial' | 'stop' | 'redial' | 'ready' | 'close';

interface Input {
  readonly link: number;
  readonly open?: CommandOptions;
  readonly call?: HostCall;
}

const links = new Map<number, CommandLink>();
const nothing = (): void => undefined;

async function open(number: number, options: CommandOptions): Promise<void> {
  const tell = (value: object): void => { process.stdout.write(`${JSON.stringify({ link: number, ...value })}\n`); };
  const warn = (fields: LogFields, message: string): void => { tell({ type: 'warn', event: fields.event, message }); };
  const link = new CommandLink(options, systemClock, { debug: nothing, info: nothing, warn, error: nothing });
  links.set(number, link);
  link.events$.subscribe({ next: tell, complete: () => { tell({ type: 'complete' }); } });
  await link.start();
  tell({ type: 'started' });
}

// What keeps this process from ending when its input has ended is the links' fault.
createInterface(process.stdin).on('line', (line) => {
  const { link: number, open: options, call } = JSON.parse(line) as Input;
  if (options) void open(number, options);
  const link = links.get(number);
  if (call === 'ready') process.stdout.write(`${JSON.stringify({ link: number, type: 'answer', ready: link?.ready() })}\n`);
  else if (call) void link?.[call]();
});
