import { DaemonError } from '../core/errors.js';
import type { ManagementClient } from './client.js';
import { LONGEST_PARAMETER_BYTES } from './parameters.js';
import type { Secret } from './secret.js';

/** USER_PASS_LEN of OpenVPN's misc.h less the NUL, without and with PKCS#11. */
const LONGEST_BYTES = 127;
const LONGEST_WITH_PKCS11_BYTES = 4095;
/** The interface's version that takes passwords in several lines (OpenVPN 2.7.3). */
const TAKES_LONG = 6;
/** The client's version that it takes them from. */
const SENDS_LONG = 5;

/**
 * A password of any length that this OpenVPN can keep.
 * @throws DaemonError MANAGEMENT_INVALID for a longer one, which OpenVPN would cut without a word, and the server refuse
 */
export async function sendPassword(client: ManagementClient, realm: string, password: Secret): Promise<void> {
  const bytes = Buffer.byteLength(password.reveal());
  if (bytes <= LONGEST_BYTES) {
    await client.password(realm, password);
    return;
  }
  const { title, management } = await client.version();
  const longest = !title.includes('[PKCS11]') ? LONGEST_BYTES : management >= TAKES_LONG ? LONGEST_WITH_PKCS11_BYTES : LONGEST_PARAMETER_BYTES;
  if (bytes > longest) throw new DaemonError('MANAGEMENT_INVALID', `the password has ${bytes} bytes, this OpenVPN takes ${longest}`);
  if (bytes <= LONGEST_PARAMETER_BYTES) {
    await client.password(realm, password);
    return;
  }
  await client.setVersion(SENDS_LONG);
  await client.longPassword(realm, password);
}
