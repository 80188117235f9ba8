import type { Credential } from '../../contracts/credential-source.js';
import type { RegistryHost } from '../../reference/registry-host.js';

/**
 * The value of `X-Registry-Auth` (Docker Engine API, "Authentication"): base64url with padding. What the engine cannot
 * decode it ignores, and pulls as nobody.
 */
export function registryAuth(credential: Credential, registry: RegistryHost): string {
  const json = JSON.stringify({ ...shown(credential), serveraddress: serverAddress(registry) });
  return Buffer.from(json).toString('base64').replaceAll('+', '-').replaceAll('/', '_');
}

function shown(credential: Credential): Readonly<Record<string, string>> {
  switch (credential.kind) {
    case 'basic':
      return { username: credential.username, password: credential.password.reveal() };
    case 'identity-token':
      return { identitytoken: credential.token.reveal() };
    case 'registry-token':
      return { registrytoken: credential.token.reveal() };
  }
}

/** With its containerd image store the engine shows a credential to this host alone, and knows Docker Hub by its old name. */
function serverAddress(registry: RegistryHost): string {
  return registry === 'docker.io' ? 'https://index.docker.io/v1/' : registry;
}
