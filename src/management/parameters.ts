import { DaemonError } from '../core/errors.js';

/** OPTION_PARM_SIZE and MAX_PARMS of OpenVPN's options.h. */
export const LONGEST_PARAMETER_BYTES = 256;
export const MOST_PARAMETERS = 16;
/** The buffer of man_read() less the newline: a longer line is cleared, and its tail runs as a command. */
export const LONGEST_COMMAND_BYTES = 1023;
/**
 * OpenVPN reads 256 bytes at a time into that buffer. A line that may be followed by another before it was worked off
 * has to leave them their room.
 */
export const LONGEST_UNANSWERED_BYTES = LONGEST_COMMAND_BYTES - 256;

function invalid(message: string, hint?: string): DaemonError {
  return new DaemonError('MANAGEMENT_INVALID', message, hint === undefined ? {} : { hint });
}

/**
 * Refuses what would not arrive as it is: OpenVPN takes a newline for the end of the command and drops other control
 * characters. The text itself is not named in the error, since it may be a secret.
 */
export function checkCharacters(text: string, what: string): void {
  const control = /[\u0000-\u001f\u007f]/.exec(text);
  if (control) {
    const name = `U+${control[0].charCodeAt(0).toString(16).toUpperCase().padStart(4, '0')}`;
    throw invalid(`${what} has a control character (${name}), which the management interface cannot carry`, 'newline, NUL, tab and the like are not possible there');
  }
  if (/\p{Surrogate}/u.test(text)) throw invalid(`${what} is not well-formed Unicode`);
}

/** One line that arrives whole: no control characters, and not too long. */
export function checkLine(line: string, what: string): void {
  checkCharacters(line, what);
  const bytes = Buffer.byteLength(line);
  if (bytes > LONGEST_COMMAND_BYTES) throw invalid(`${what} of ${bytes} bytes is too long`, `OpenVPN takes at most ${LONGEST_COMMAND_BYTES} bytes; the rest would run as a command of its own`);
}

/** A value as one parameter of a command, in quotes, with the two escapes that it may need. */
export function quote(value: string): string {
  checkCharacters(value, 'a parameter');
  const bytes = Buffer.byteLength(value);
  if (bytes > LONGEST_PARAMETER_BYTES) throw invalid(`a parameter of ${bytes} bytes is too long`, `OpenVPN takes at most ${LONGEST_PARAMETER_BYTES} bytes`);
  return `"${value.replace(/["\\]/g, '\\$&')}"`;
}

interface Parameter {
  readonly value: string;
  /** Where it begins in the line. */
  readonly start: number;
}

type Mode = 'between' | 'plain' | '"' | "'";

/** One reading of the command line, as parse_line() in OpenVPN's options_parse.c does it. */
class Tokenizer {
  readonly parameters: Parameter[] = [];
  #mode: Mode = 'between';
  #value = '';
  #start = 0;

  read(line: string): Parameter[] {
    for (let at = 0; at < line.length; at += 1) {
      let character = line.charAt(at);
      let escaped = false;
      if (character === '\\' && this.#mode !== "'") {
        at += 1;
        character = line.charAt(at);
        escaped = true;
        if (!['\\', '"', ' '].includes(character)) throw invalid('a backslash may stand only before a backslash, a quote or a blank', 'quote(value) does it right');
      }
      if (this.#mode === 'between' && !escaped && (character === '#' || character === ';')) return this.parameters;
      this.#take(character, escaped, at);
    }
    if (this.#mode === '"' || this.#mode === "'") throw invalid(`a closing ${this.#mode} is missing`);
    if (this.#mode === 'plain') this.#finish();
    return this.parameters;
  }

  #take(character: string, escaped: boolean, at: number): void {
    switch (this.#mode) {
      case 'between':
        if (character === ' ' && !escaped) return;
        this.#start = escaped ? at - 1 : at;
        if (!escaped && (character === '"' || character === "'")) {
          this.#mode = character;
        } else if (character === ' ') {
          // parse_line() takes an escaped blank that begins a parameter for one that separates.
          return;
        } else {
          this.#mode = 'plain';
          this.#value = character;
        }
        return;
      case 'plain':
        if (character === ' ' && !escaped) this.#finish();
        else this.#value += character;
        return;
      case '"':
      case "'":
        if (character === this.#mode && !escaped) this.#finish();
        else this.#value += character;
    }
  }

  #finish(): void {
    const bytes = Buffer.byteLength(this.#value);
    if (bytes > LONGEST_PARAMETER_BYTES) throw invalid(`a parameter of ${bytes} bytes is too long`, `OpenVPN takes at most ${LONGEST_PARAMETER_BYTES} bytes`);
    this.parameters.push({ value: this.#value, start: this.#start });
    if (this.parameters.length > MOST_PARAMETERS) throw invalid(`a command has at most ${MOST_PARAMETERS} parameters`);
    this.#mode = 'between';
    this.#value = '';
  }
}

/**
 * What OpenVPN will make of a command line: its parameters, none for a blank line or a comment. Throws
 * MANAGEMENT_INVALID for what it would refuse, change or take for more than one command.
 */
export function parameters(line: string): Parameter[] {
  checkLine(line, 'a command');
  return new Tokenizer().read(line);
}
