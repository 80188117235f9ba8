import { randomBytes, scryptSync } from 'node:crypto';

/** The users' file of the examples. @param passwords by name */
export function scryptUsers(
  passwords: Readonly<Record<string, string>>,
  more: Readonly<Record<string, object>> = {},
): string {
  const entries = Object.entries(passwords).map(([name, password]) => {
    const salt = randomBytes(16);
    const scrypt = `${salt.toString('hex')}:${scryptSync(password, salt, 32).toString('hex')}`;
    return [name, { scrypt, ...more[name] }];
  });
  return JSON.stringify(Object.fromEntries(entries));
}
