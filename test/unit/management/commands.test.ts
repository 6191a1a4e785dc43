import { describe, expect, it } from '@jest/globals';
import type { DaemonError } from '../../../src/core/errors.js';
import { prepareCommand } from '../../../src/management/commands.js';
import { parameters, quote } from '../../../src/management/parameters.js';

function refusal(work: () => unknown): DaemonError {
  try {
    work();
  } catch (error) {
    return error as DaemonError;
  }
  throw new Error('it was not refused');
}

const values = (line: string): string[] => parameters(line).map(({ value }) => value);

describe('quote', () => {
  it.each(['simple', 'with blanks  two', 'quo"te', 'back\\slash', '\\"', "apo'strophe", '#no comment; neither', 'ümläut €😀', '', ' ', '\\'])('%j arrives as it is', (value) => {
    expect(values(`password "Auth" ${quote(value)}`)).toEqual(['password', 'Auth', value]);
  });

  it.each(['new\nline', 'carriage\rreturn', 'nul\0', 'tab\t', 'bell\u0007', 'del\u007f', 'lone \ud800 surrogate'])('%j is refused', (value) => {
    expect(refusal(() => quote(value)).code).toBe('MANAGEMENT_INVALID');
  });

  it('counts bytes, not characters', () => {
    expect(quote('x'.repeat(256))).toHaveLength(258);
    expect(refusal(() => quote('x'.repeat(257))).code).toBe('MANAGEMENT_INVALID');
    expect(refusal(() => quote('ü'.repeat(129))).code).toBe('MANAGEMENT_INVALID');
  });

  it('does not name the value in its error', () => {
    expect(refusal(() => quote('hunter2\n')).describe()).not.toContain('hunter2');
  });
});

describe('a command line', () => {
  it('is read as OpenVPN reads it', () => {
    expect(values('  hold   release ')).toEqual(['hold', 'release']);
    expect(values(`a 'b "c\\d' "e\\"f" g\\ h`)).toEqual(['a', 'b "c\\d', 'e"f', 'g h']);
    expect(values('a "b"c')).toEqual(['a', 'b', 'c']);
    expect(values('a # rest')).toEqual(['a']);
    expect(values('a b#c')).toEqual(['a', 'b#c']);
    expect(values('; all')).toEqual([]);
    expect(values('')).toEqual([]);
  });

  it.each([
    ['hold release\nsignal SIGTERM', 'a second command'],
    ['x'.repeat(1024), 'more than 1023 bytes'],
    [`a ${'"x" '.repeat(16)}`, 'more than 16 parameters'],
    [`password Auth ${'x'.repeat(257)}`, 'a parameter of more than 256 bytes'],
    ['password "Auth', 'a quote that is not closed'],
    ["password 'Auth", 'an apostrophe that is not closed'],
    ['password a\\b', 'a backslash before something else'],
    ['password a\\', 'a backslash at the end'],
  ])('%j is refused: %s', (line) => {
    expect(refusal(() => prepareCommand(line)).code).toBe('MANAGEMENT_INVALID');
  });

  it('may have 1023 bytes and 16 parameters', () => {
    const line = `a ${'"x" '.repeat(15)}`;
    expect(prepareCommand(line).parameters).toHaveLength(16);
    const long = Array.from({ length: 4 }, () => 'x'.repeat(255)).join(' ');
    expect(Buffer.byteLength(long)).toBe(1023);
    expect(prepareCommand(long).wire).toBe(`${long}\n`);
  });

  it.each([
    ['password "Auth" "hunter2"', 'password "Auth" [secret]'],
    ['password Auth hunter2', 'password Auth [secret]'],
    ['needstr "pin" "hunter2"', 'needstr "pin" [secret]'],
    ['cr-response hunter2', 'cr-response [secret]'],
    ['username "Auth" "joe"', 'username "Auth" "joe"'],
  ])('%s is shown as %s', (line, shown) => {
    expect(prepareCommand(line).shown).toBe(shown);
  });
});

describe('the shape of a reply', () => {
  const status = ['auth-retry', 'bytecount 1', 'client-auth-nt 0 1', 'client-deny 0 1 r', 'client-kill 0', 'client-pending-auth 0 1 x 9', 'cr-response eA==', 'env-filter 1', 'forget-passwords',
    'hold', 'hold release', 'kill joe', 'load-stats', 'log', 'log on', 'state off', 'echo on', 'mute', 'nclients', 'needok a ok', 'needstr a b', 'net', 'password Auth x', 'pid', 'proxy NONE',
    'push-update-broad x', 'push-update-cid 0 x', 'remote ACCEPT', 'signal SIGUSR1', 'test', 'username Auth x', 'verb 3', 'state 0', 'state nonsense'];
  const block = ['help', 'version', 'status', 'status 3', 'state', 'state 3', 'state all', 'log all', 'log 20', 'echo 5', 'remote-entry-count', 'remote-entry-get all', 'remote-entry-get 0 2'];
  const kinds = (line: string): string => {
    const { shape } = prepareCommand(line);
    return shape.kind === 'sequence' ? shape.parts.join('+') : shape.kind;
  };

  it.each(status)('of %s is a status', (line) => {
    expect(kinds(line)).toBe('status');
  });

  it.each(block)('of %s is a block', (line) => {
    expect(kinds(line)).toBe('block');
  });

  it.each([
    ['state on all', 'status+block'], ['log on 20', 'status+block'], ['echo all on', 'block+status'], ['log on off', 'status+status'], ['state on all 3', 'status+block'],
    ['version 5', 'none'], ['', 'none'], ['# x', 'none'], ['exit', 'close'], ['quit', 'close'], ['test 3', 'count'], ['test 0', 'none'], ['test x', 'none'],
    ['pkcs11-id-count', 'event'], ['pkcs11-id-get 1', 'event'], ['pkcs11-id-get', 'status'], ['something-new', 'auto'],
  ])('of %j is %s', (line, expected) => {
    expect(kinds(line)).toBe(expected);
  });
});

describe('a command with lines up to END', () => {
  it('goes out as one', () => {
    expect(prepareCommand('pk-sig', ['QUJD', 'REVG']).wire).toBe('pk-sig\nQUJD\nREVG\nEND\n');
    expect(prepareCommand('client-auth 0 1').wire).toBe('client-auth 0 1\nEND\n');
    expect(prepareCommand('password Auth', ['QUJD']).wire).toBe('password Auth\nQUJD\nEND\n');
  });

  it.each([
    ['pid', ['x']], ['password Auth x', ['x']], ['pk-sig', ['END']], ['pk-sig', ['a\nb']], ['pk-sig', ['x'.repeat(768)]], ['client-auth x 1', ['push "x"']],
  ])('%s with %j is refused', (line, body) => {
    expect(refusal(() => prepareCommand(line, body)).code).toBe('MANAGEMENT_INVALID');
  });
});
