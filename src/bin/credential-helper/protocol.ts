import type { Credential } from '../../contracts/index.js';
import { HelperError } from '../one-question/helper-error.js';

/** docker/docker-credential-helpers `credentials/error.go`: clients know these texts, and go on as if nothing was kept. */
export const notFoundText = 'credentials not found in native keychain';
const noServerText = 'no credentials server URL';
const noUserText = 'no credentials username';

/** @throws HelperError where nothing is asked for */
export function serverIn(request: string): string {
  const server = request.trim();
  if (server === '') throw new HelperError(noServerText);
  return server;
}

/** Whose password `store` is to keep. @throws HelperError where that is not said */
export function storedUserIn(request: string): { readonly server: string; readonly username: string } {
  const { ServerURL: server, Username: username } = fieldsIn(request);
  if (typeof server !== 'string' || server === '') throw new HelperError(noServerText);
  if (typeof username !== 'string' || username === '') throw new HelperError(noUserText);
  return { server, username };
}

/** A parse error would quote the text, which holds a password. */
function fieldsIn(request: string): Readonly<Record<string, unknown>> {
  try {
    return Object(JSON.parse(request)) as Readonly<Record<string, unknown>>;
  } catch {
    throw new HelperError('what stands on standard input is not JSON');
  }
}

/** docker's name for a password that is an OAuth2 refresh token: cli/config/credentials/native_store.go. */
export const tokenUser = '<token>';

/**
 * The answer to `get`.
 *
 * @throws HelperError for a kind of credential that has no form in this protocol
 */
export function printCredential(server: string, credential: Credential): string {
  if (credential.kind === 'registry-token') {
    throw new HelperError(
      `${server}: its credential is a registryToken, which no credential helper can give; write it into \`auths\``,
    );
  }
  const [user, secret] =
    credential.kind === 'basic' ? [credential.username, credential.password] : [tokenUser, credential.token];
  return JSON.stringify({ ServerURL: server, Username: user, Secret: secret.reveal() });
}
