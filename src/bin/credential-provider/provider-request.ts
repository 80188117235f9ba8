import { parseJsonObject } from '../../protocol/json-object.js';
import { Secret } from '../../secret.js';
import { HelperError } from '../one-question/helper-error.js';

/** Of request and response (Kubernetes KEP-2133). A provider answers in the version it is asked in. */
export const providerVersion = 'credentialprovider.kubelet.k8s.io/v1';
const group = 'credentialprovider.kubelet.k8s.io/';

/** Characters: distribution/reference has names of at most 255, and there are a host, a tag and a digest beside. */
const maxImage = 1_024;

/** What kubelet asks. */
export interface ProviderRequest {
  /** As kubelet writes it: with its registry, without tag and digest. */
  readonly image: string;
  /** Of the pod's ServiceAccount (KEP-4412). Nothing in it has been looked at. */
  readonly token?: Secret;
}

/** @throws HelperError that quotes nothing of it: there may be a token in it */
export function parseProviderRequest(text: string): ProviderRequest {
  const { apiVersion, kind, image, serviceAccountToken } = parseJsonObject(text) ?? {};
  if (kind !== 'CredentialProviderRequest' || typeof apiVersion !== 'string') {
    throw new HelperError(
      'expected a CredentialProviderRequest on standard input: kubelet runs this program',
    );
  }
  if (apiVersion !== providerVersion) throw new HelperError(otherVersionText(apiVersion));
  if (typeof image !== 'string' || image === '' || image.length > maxImage) {
    throw new HelperError('the CredentialProviderRequest names no image');
  }
  const token = serviceAccountToken ?? '';
  if (typeof token !== 'string') throw new HelperError('its serviceAccountToken is not a text');
  return { image, ...(token !== '' && { token: new Secret(token) }) };
}

function otherVersionText(apiVersion: string): string {
  const isOlder = apiVersion === `${group}v1alpha1` || apiVersion === `${group}v1beta1`;
  const asked = isOlder ? `kubelet asks in ${apiVersion}` : 'kubelet asks in another version';
  return `${asked}; write apiVersion: ${providerVersion} for this provider in kubelet's CredentialProviderConfig`;
}
