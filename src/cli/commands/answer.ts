import { createInterface } from 'node:readline/promises';
import { Writable } from 'node:stream';
import { Command } from 'commander';
import type { AnswerRequest, Question } from '../../control/api.js';
import { request } from '../../control/client.js';
import { DaemonError } from '../../core/errors.js';
import { socketOption, type SocketOption } from '../options.js';

export function answerCommand(): Command {
  return new Command('answer')
    .description('answer what OpenVPN asks for: user name and password, a passphrase, a code; from the terminal, or line by line from standard input')
    .argument('<tunnel>')
    .addOption(socketOption())
    .action(async (tunnel: string, { socket }: SocketOption) => {
      const question = (await request(socket, { command: 'question', tunnel })) as Question | null;
      if (!question) throw new DaemonError('USAGE', 'nothing is asked', { place: `tunnel ${tunnel}` });
      await request(socket, { command: 'answer', tunnel, ...(await ask(question)) });
    });
}

async function ask({ kind, text, echo }: Question): Promise<Pick<AnswerRequest, 'username' | 'secret' | 'ok'>> {
  const terminal = new Terminal();
  try {
    switch (kind) {
      case 'login':
        return { username: await terminal.ask(text, true), secret: await terminal.ask('password', false) };
      case 'username':
        return { username: await terminal.ask(text, true), secret: '' };
      case 'confirm':
        return { ok: /^y(es)?$/i.test(await terminal.ask(`${text} (yes/no)`, true)) };
      case 'open-url':
        process.stderr.write(`open ${text}\n`);
        return { secret: '' };
      case 'passphrase':
      case 'response':
      case 'string':
        return { secret: await terminal.ask(text, echo) };
    }
  } finally {
    terminal.close();
  }
}

/** Questions on standard error, answers from standard input; on a terminal, what is secret is not shown. */
class Terminal {
  #shown = true;
  readonly #output = new Writable({
    write: (chunk: Buffer, _encoding, done) => {
      if (this.#shown) process.stderr.write(chunk);
      done();
    },
  });
  readonly #lines = createInterface({ input: process.stdin, output: this.#output, terminal: process.stdin.isTTY });
  readonly #answers = this.#lines[Symbol.asyncIterator]();

  async ask(text: string, echo: boolean): Promise<string> {
    process.stderr.write(`${text}: `);
    this.#shown = echo;
    const { value, done } = (await this.#answers.next()) as IteratorResult<string, undefined>;
    this.#shown = true;
    if (!echo) process.stderr.write('\n');
    if (done === true) throw new DaemonError('USAGE', 'there is no answer on standard input');
    return value;
  }

  close(): void {
    this.#lines.close();
  }
}
