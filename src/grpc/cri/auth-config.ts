import { create } from '@bufbuild/protobuf';
import type { Credential } from '../../contracts/credential-source.js';
import { RegistryError } from '../../errors.js';
import type { Untold } from '../../protocol/told-text.js';
import type { RegistryHost } from '../../reference/registry-host.js';
import { Secret } from '../../secret.js';
import { type AuthConfig, AuthConfigSchema } from './runtime_pb.js';

/**
 * A credential as a CRI runtime takes it. containerd leaves out one whose `server_address` is a bare host, compares it
 * with the host it speaks to, and shows one without an address to any host, mirrors included.
 */
export function authConfigOf(credential: Credential, registry: RegistryHost): AuthConfig {
  const serverAddress = `https://${registry === 'docker.io' ? 'registry-1.docker.io' : registry}`;
  switch (credential.kind) {
    case 'basic': {
      const { username, password } = credential;
      return create(AuthConfigSchema, { username, password: password.reveal(), serverAddress });
    }
    case 'identity-token':
      return create(AuthConfigSchema, { identityToken: credential.token.reveal(), serverAddress });
    case 'registry-token':
      return create(AuthConfigSchema, { registryToken: credential.token.reveal(), serverAddress });
  }
}

/**
 * Kubelet's credential, for a runtime that does not speak CRI. Its `server_address` does not count: kubelet chooses the
 * secret by the image.
 *
 * @returns undefined where it is empty: kubelet means nobody
 * @throws RegistryError UNKNOWN where `auth` is not the base64 of user:password: it is nobody's, and not an empty one
 */
export function credentialOf(config: AuthConfig): Credential | undefined {
  const { identityToken, registryToken, username, password, auth } = config;
  // The order of containerd.
  if (username !== '') return basic(username, password);
  if (identityToken !== '') return { kind: 'identity-token', token: new Secret(identityToken) };
  if (auth !== '') return decoded(auth);
  if (registryToken !== '') return { kind: 'registry-token', token: new Secret(registryToken) };
  return undefined;
}

/** All that is secret of kubelet's credential, whatever of it is used. */
export function untoldOf({
  username,
  password,
  auth,
  identityToken,
  registryToken,
}: AuthConfig): readonly Untold[] {
  const text = decode(auth);
  const colon = text.indexOf(':');
  return [
    ...[auth, text, identityToken, registryToken].map((token) => ({ token: new Secret(token) })),
    basic(username, password),
    basic(text.slice(0, Math.max(colon, 0)), text.slice(colon + 1)),
  ];
}

function decode(auth: string): string {
  // Old versions of docker padded with NUL.
  return Buffer.from(auth, 'base64').toString('utf8').replace(/\0+$/, '');
}

function decoded(auth: string): Credential {
  const text = decode(auth);
  const colon = text.indexOf(':');
  if (colon > 0) return basic(text.slice(0, colon), text.slice(colon + 1));
  throw new RegistryError('UNKNOWN', {
    reason: 'the imagePullSecret cannot be used: its auth is not the base64 of user:password',
  });
}

function basic(username: string, password: string) {
  return { kind: 'basic' as const, username, password: new Secret(password) };
}
