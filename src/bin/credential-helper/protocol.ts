import type { Credential } from '../../contracts/index.js';

/** docker/docker-credential-helpers `credentials/error.go`: clients know these texts, and go on as if nothing was kept. */
export const notFoundText = 'credentials not found in native keychain';
const noServerText = 'no credentials server URL';
const noUserText = 'no credentials username';

/** Bytes of a request: a password and its server are far smaller. */
const maxRequest = 64 * 1024;

/**
 * Why there is no answer. The protocol has errors on standard output, with any exit code but 0; clients show the text to
 * whoever asked them.
 */
export class HelperError extends Error {
  override readonly name = 'HelperError';
  /** As the commands of `docker-registry-proxy` have it: 1 failed, 2 wrong usage or configuration; 128 + n by a signal. */
  readonly code: number;

  /** @param message one line, or one a problem; never a secret */
  constructor(message: string, code = 1, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** What a client asks for on standard input. @throws HelperError where it is too long */
export async function readRequest(input: AsyncIterable<Uint8Array>): Promise<string> {
  const pieces: Uint8Array[] = [];
  let size = 0;
  for await (const piece of input) {
    size += piece.length;
    if (size > maxRequest)
      throw new HelperError(`what stands on standard input is larger than ${maxRequest} bytes`);
    pieces.push(piece);
  }
  return Buffer.concat(pieces).toString('utf8');
}

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
