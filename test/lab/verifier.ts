import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { programPath } from './paths.js';

/** What programs/verifier.sh says to one user name and password. */
export interface Account {
  readonly username: string;
  /** As OpenVPN sends it: see `staticChallenge` and `dynamicChallenge`. */
  readonly password: string;
  /** `challenge`: asks for a code (CRV1); `web`: lets in when `opened` was written. */
  readonly answer: 'yes' | `challenge ${string}` | `web ${string}`;
}

/** Whom the lab's server lets in, and who has tried. */
export class Verifier {
  readonly folder = mkdtempSync(join(tmpdir(), 'ood-verifier-'));

  constructor(accounts: readonly Account[]) {
    writeFileSync(join(this.folder, 'answers'), accounts.map(({ username, password, answer }) => `${username}\t${password}\t${answer}\n`).join(''));
    this.forget();
  }

  /** For the server's configuration. */
  get lines(): readonly string[] {
    return ['script-security 2', `auth-user-pass-verify "${programPath('verifier.sh')} ${this.folder}" via-file`];
  }

  /** A file whose being there lets in who was sent to the web. */
  get opened(): string {
    return join(this.folder, 'opened');
  }

  /** Every user name and password that the server was given since the last `forget`. */
  get attempts(): readonly (readonly [username: string, password: string])[] {
    return readFileSync(join(this.folder, 'attempts'), 'utf8').split('\n').filter(Boolean).map((line) => {
      const [username = '', password = ''] = line.split('\t');
      return [username, password];
    });
  }

  forget(): void {
    writeFileSync(join(this.folder, 'attempts'), '');
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** What OpenVPN makes of a password and the answer to a static challenge. */
export function staticChallenge(password: string, code: string): string {
  return `SCRV1:${base64(password)}:${base64(code)}`;
}

/** The answer to the verifier's dynamic challenge. */
export function dynamicChallenge(code: string): string {
  return `CRV1::state1::${code}`;
}

function base64(text: string): string {
  return Buffer.from(text).toString('base64');
}
