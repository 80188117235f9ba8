import { isAcrHost } from '../../reference/acr-host.js';
import { parseEcrHost } from '../../reference/ecr-host.js';
import { isGoogleHost } from '../../reference/google-host.js';

const hosts: readonly string[] = [
  'docker.io',
  'ghcr.io',
  'mcr.microsoft.com',
  'quay.io',
  'registry.gitlab.com',
  'registry.k8s.io',
];

/**
 * True for registries that are certainly none of ours. As `credsStore` this program is asked for each registry there is,
 * and to these a machine's identity is neither of use nor of their concern.
 */
export function isPublicRegistry(host: string): boolean {
  return hosts.includes(host) || isGoogleHost(host) || isAcrHost(host) || parseEcrHost(host) !== undefined;
}
