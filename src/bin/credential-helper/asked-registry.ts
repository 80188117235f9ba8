import { isRegistryHost, parseRegistryHost, type RegistryHost } from '../../reference/registry-host.js';
import { HelperError } from '../one-question/helper-error.js';

/** By which docker, its daemon and its website know the same registry. */
const dockerHub: readonly string[] = ['index.docker.io', 'registry-1.docker.io'];

/**
 * The registry that a client means: `docker.example.com`, `https://docker.example.com/v2/`, and
 * `https://index.docker.io/v1/` for Docker Hub. A path is not looked at: helpers know no repositories.
 *
 * @throws HelperError
 */
export function parseAskedServer(server: string): RegistryHost {
  const [, scheme = 'https', rest = ''] = /^(?:([a-z]+):\/\/)?(.*)$/is.exec(server) ?? [];
  const host = rest.split(/[/?#]/, 1)[0] ?? '';
  if (!/^https?$/i.test(scheme) || !isRegistryHost(host)) {
    throw new HelperError('the server is not a registry: expected a host such as docker.example.com');
  }
  return parseRegistryHost(canonicalHost(host, scheme));
}

/** One host in one form: its own verifier knows it by no other. */
export function canonicalHost(host: string, scheme = 'https'): string {
  const lower = host.toLowerCase();
  const usual = scheme.toLowerCase() === 'http' ? ':80' : ':443';
  const bare = lower.endsWith(usual) ? lower.slice(0, -usual.length) : lower;
  return dockerHub.includes(bare) ? 'docker.io' : bare;
}
