import type { PullRequest } from '../../image-service/pull-request.js';
import { untoldOf } from './auth-config.js';
import type { AuthConfig, PullImageRequest } from './runtime_pb.js';

function isEmpty({ username, password, auth, identityToken, registryToken }: AuthConfig): boolean {
  return [username, password, auth, identityToken, registryToken].every((text) => text === '');
}

/** What counts of a PullImageRequest for choosing a credential. */
export function askedPull({ image, auth, sandboxConfig }: PullImageRequest): PullRequest {
  const { name, uid, namespace } = sandboxConfig?.metadata ?? { name: '', uid: '', namespace: '' };
  return {
    image: image?.image ?? '',
    // crictl sends a sandbox_config without names where it has no pod.
    ...((namespace !== '' || name !== '') && { pod: { namespace, name, uid } }),
    annotations: new Map(Object.entries(image?.annotations ?? {})),
    hasOwnCredential: auth !== undefined,
    ...(auth && { untold: untoldOf(auth), isOwnEmpty: isEmpty(auth) }),
  };
}
