import { parse } from 'yaml';
import { matchingKeys } from '../../src/credential-sources/exec/image-match.js';

// kubelet's side of the credential providers, after kubernetes pkg/credentialprovider: what configuration it starts with,
// which providers it asks about an image and for which pod, and what it makes of their answers.

export interface ProviderEntry {
  readonly name: string;
  readonly matchImages: readonly string[];
  readonly args: readonly string[];
  readonly tokenAttributes?: {
    readonly serviceAccountTokenAudience: string;
    readonly cacheType: string;
    readonly requireServiceAccount: boolean;
  };
}

/** What a provider is run with, and what comes of it. */
export type RunProvider = (
  provider: ProviderEntry,
  request: string,
) => Promise<{ readonly code: number | null; readonly stdout: string; readonly stderr: string }>;

export interface Login {
  readonly provider: string;
  readonly username: string;
  readonly password: string;
}

/** A pod by its ServiceAccount; absent for static pods. */
export interface PodOfKubelet {
  token(audience: string): Promise<string>;
}

export class KubeletProviders {
  readonly providers: readonly ProviderEntry[];
  readonly #run: RunProvider;

  /** @throws where kubelet would not start */
  constructor(config: string, run: RunProvider) {
    this.providers = readConfig(config);
    this.#run = run;
  }

  /** What kubelet would show for an image, in its order. @throws where a provider fails or answers wrongly */
  async loginsFor(image: string, pod?: PodOfKubelet): Promise<readonly Login[]> {
    const logins: Login[] = [];
    for (const provider of this.providers) {
      if (!provider.matchImages.some((glob) => urlsMatch(glob, image))) continue;
      const tokens = provider.tokenAttributes;
      if (tokens?.requireServiceAccount === true && pod === undefined) continue;
      const token = tokens && (await pod?.token(tokens.serviceAccountTokenAudience));
      const request = {
        ...{ kind: 'CredentialProviderRequest', apiVersion: version, image },
        ...(token !== undefined && { serviceAccountToken: token }),
      };
      const { code, stdout, stderr } = await this.#run(provider, `${JSON.stringify(request)}\n`);
      if (code !== 0) throw new Error(`${provider.name} ended with ${code}: ${stderr}`);
      const { auth } = readAnswer(stdout);
      for (const key of matchingKeys(Object.keys(auth), image)) {
        const { username = '', password = '' } = auth[key] ?? {};
        logins.push({ provider: provider.name, username, password });
      }
    }
    return logins;
  }
}

const version = 'credentialprovider.kubelet.k8s.io/v1';

export interface ProviderResponse {
  readonly cacheKeyType: string;
  /** Seconds. */
  readonly cacheDuration: number;
  readonly auth: Readonly<Record<string, { readonly username: string; readonly password: string }>>;
}

/** @throws where kubelet could not read it */
export function readAnswer(stdout: string): ProviderResponse {
  const { apiVersion, kind, cacheKeyType, cacheDuration, auth, ...more } = JSON.parse(stdout);
  const unknown = Object.keys(more);
  const seconds = /^(\d+)s$/.exec(cacheDuration)?.[1];
  const isRead = apiVersion === version && kind === 'CredentialProviderResponse' && unknown.length === 0;
  if (!isRead || !['Image', 'Registry', 'Global'].includes(cacheKeyType) || seconds === undefined) {
    throw new Error('kubelet cannot read the answer');
  }
  return { cacheKeyType, cacheDuration: Number(seconds), auth: auth ?? {} };
}

const known = ['name', 'matchImages', 'defaultCacheDuration', 'apiVersion', 'args', 'env', 'tokenAttributes'];

/** `validateCredentialProviderConfig`, after a strict reading. */
function readConfig(text: string): readonly ProviderEntry[] {
  const { apiVersion, kind, providers, ...more } = parse(text);
  const problems: string[] = [];
  const demand = (isFine: boolean, problem: string) => void (isFine || problems.push(problem));
  demand(apiVersion === 'kubelet.config.k8s.io/v1' && kind === 'CredentialProviderConfig', 'no config');
  demand(Object.keys(more).length === 0, `unknown fields ${Object.keys(more)}`);
  demand(providers.length > 0, 'no provider');
  demand(new Set(providers.map(({ name }: ProviderEntry) => name)).size === providers.length, 'two names');
  for (const one of providers) {
    demand(
      Object.keys(one).every((key) => known.includes(key)),
      `unknown fields in ${Object.keys(one)}`,
    );
    demand(/^[^/ ]+$/.test(one.name) && !['.', '..'].includes(one.name), `name ${one.name}`);
    demand(one.matchImages.length > 0, 'no matchImages');
    for (const glob of one.matchImages) demand(URL.canParse(`https://${glob.replaceAll('*', 'x')}`), glob);
    demand(/^\d+[smh]$/.test(one.defaultCacheDuration), 'no defaultCacheDuration');
    demand(one.apiVersion === version, 'apiVersion');
    if (one.tokenAttributes !== undefined) {
      const { serviceAccountTokenAudience, cacheType, requireServiceAccount, ...others } =
        one.tokenAttributes;
      demand(Object.keys(others).length === 0, `unknown fields ${Object.keys(others)}`);
      demand(serviceAccountTokenAudience !== '', 'no audience');
      demand(['Token', 'ServiceAccount'].includes(cacheType), `cacheType ${cacheType}`);
      demand(typeof requireServiceAccount === 'boolean', 'requireServiceAccount');
    }
  }
  if (problems.length > 0) throw new Error(`kubelet does not start: ${problems.join(', ')}`);
  return providers;
}

/** `URLsMatchStr`: label by label with `*` for anything in one, the same port, and a prefix of the path. */
export function urlsMatch(glob: string, image: string): boolean {
  const [wanted, found] = [partsOf(glob), partsOf(image)];
  return (
    wanted.port === found.port &&
    wanted.labels.length === found.labels.length &&
    found.path.startsWith(wanted.path) &&
    wanted.labels.every((label, i) => labelMatches(label, found.labels[i] ?? ''))
  );
}

function partsOf(text: string) {
  const slash = text.indexOf('/');
  const [hostAndPort, path] = slash < 0 ? [text, ''] : [text.slice(0, slash), text.slice(slash)];
  const [, host = hostAndPort, port = ''] = /^(.*):(\d+)$/.exec(hostAndPort) ?? [];
  return { labels: host.split('.'), port, path };
}

/** `filepath.Match`, as far as hosts go. */
function labelMatches(glob: string, label: string): boolean {
  const quoted = glob.split('*').map((part) => part.replace(/[.+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(`^${quoted.join('[^/]*')}$`).test(label);
}
