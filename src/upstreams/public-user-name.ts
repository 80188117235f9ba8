import type { Credential } from '../contracts/index.js';

type Basic = Extract<Credential, { kind: 'basic' }>;

/** They say how a registry is shown a token, and stand in its documentation. */
const constants = new Set([
  ...['AWS', 'oauth2accesstoken', '_json_key', '_json_key_base64', '_token', '<token>'],
  '00000000-0000-0000-0000-000000000000',
]);

/**
 * Whether an operator's terminal may show the user name. Where a helper or a file of another program gave it, nobody knows
 * what it is: some registries take a token for the user name, with any password (GitHub), or for both (DigitalOcean).
 */
export function isPublicUserName({ username, password, isConfigured }: Basic): boolean {
  if (constants.has(username)) return true;
  return (
    isConfigured === true &&
    username.length <= 64 &&
    /^[\x21-\x7e]+$/.test(username) &&
    !isTokenLike(username) &&
    !isPart(username, password.reveal())
  );
}

/** Letters and digits mixed, with nothing between: no person gave that name. */
function isTokenLike(username: string): boolean {
  const runs = username.match(/[A-Za-z0-9]{20,}/g) ?? [];
  return runs.some((run) => /[A-Za-z]/.test(run) && /[0-9]/.test(run));
}

const isPart = (one: string, other: string) => one.includes(other) || other.includes(one);
