import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';

/** The three PEM texts that one end of an OpenVPN connection needs. */
export interface Credentials {
  readonly ca: string;
  readonly certificate: string;
  readonly key: string;
}

/** A certificate authority made on the spot (P-256, valid for a day), and certificates signed by it. */
export class Pki {
  readonly #folder: string;

  private constructor(folder: string) {
    this.#folder = folder;
  }

  /** Makes FOLDER/pki with the authority in it. */
  static async create(folder: string): Promise<Pki> {
    const pki = new Pki(join(folder, 'pki'));
    await mkdir(pki.#folder);
    await pki.#openssl('ca', ['-subj', '/CN=Lab CA', '-addext', 'basicConstraints=critical,CA:TRUE', '-addext', 'keyUsage=critical,keyCertSign,cRLSign']);
    return pki;
  }

  server(commonName: string): Promise<Credentials> {
    return this.#issue(commonName, 'serverAuth');
  }

  client(commonName: string): Promise<Credentials> {
    return this.#issue(commonName, 'clientAuth');
  }

  async #issue(commonName: string, usage: 'serverAuth' | 'clientAuth'): Promise<Credentials> {
    await this.#openssl(commonName, [
      '-CA', 'ca.crt', '-CAkey', 'ca.key', '-subj', `/CN=${commonName}`,
      '-addext', 'basicConstraints=critical,CA:FALSE', '-addext', 'keyUsage=critical,digitalSignature', '-addext', `extendedKeyUsage=${usage}`,
    ]);
    const read = (name: string): Promise<string> => readFile(join(this.#folder, name), 'utf8');
    const [ca, certificate, key] = await Promise.all([read('ca.crt'), read(`${commonName}.crt`), read(`${commonName}.key`)]);
    return { ca, certificate, key };
  }

  /** One new key and its certificate: NAME.key and NAME.crt. */
  async #openssl(name: string, args: readonly string[]): Promise<void> {
    const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', `${name}.key`];
    await execa('openssl', ['req', '-x509', ...key, '-out', `${name}.crt`, '-days', '1', ...args], { cwd: this.#folder });
  }
}
