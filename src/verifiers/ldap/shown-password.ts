import type { ClientCredentials } from '../../contracts/index.js';
import type { Secret } from '../../secret.js';
import { refused } from './failures.js';

/** Longer ones are not passwords but load, for the directory too. */
const maxPasswordBytes = 4_096;

/**
 * The user name and password to ask a directory about.
 *
 * @returns undefined where there are none
 * @throws RegistryError UNAUTHORIZED where no directory should see them. An empty password above all: a bind with it
 *   is one as nobody, and succeeds for every user (RFC 4513 section 5.1.2; threat 15).
 */
export function shownPassword({
  shown,
}: ClientCredentials): { readonly username: string; readonly password: Secret } | undefined {
  if (shown.kind !== 'password' || shown.username === '') return undefined;
  const { username, password } = shown;
  if (password.isEmpty) throw refused('the password is empty');
  if (Buffer.byteLength(password.reveal()) > maxPasswordBytes)
    throw refused(`the password is over ${maxPasswordBytes} bytes`);
  if (/\p{Cc}/u.test(username)) throw refused('the user name holds control characters');
  return { username, password };
}
