// What kubelet does with credential providers, after kubernetes pkg/credentialprovider: which of them it starts with, which
// ones it asks about an image, and what it makes of an answer. It keeps no answer.
import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const stable = 'credentialprovider.kubelet.k8s.io/v1';
/** What a provider has for its answer, in milliseconds. */
const patience = 60_000;

/**
 * @param {string} file `--image-credential-provider-config`
 * @param {string} directory `--image-credential-provider-bin-dir`
 * @returns the providers, in their order
 * @throws where kubelet would not start
 */
export async function readProviders(file, directory) {
  const { parseAllDocuments } = await import('yaml');
  // Kubelet's parser reads the first one alone.
  const [document] = parseAllDocuments(readFileSync(file, 'utf8'), { version: '1.1' });
  const { apiVersion, kind, providers } = document?.toJS() ?? {};
  if (apiVersion !== 'kubelet.config.k8s.io/v1' || kind !== 'CredentialProviderConfig') {
    throw new Error(`${file} is no CredentialProviderConfig`);
  }
  if (!Array.isArray(providers) || providers.length === 0) throw new Error('at least 1 item is required');
  const names = providers.map(({ name }) => name);
  if (new Set(names).size < names.length) throw new Error(`duplicate provider name in ${names}`);
  for (const { name, apiVersion: version, defaultCacheDuration, matchImages } of providers) {
    if (!existsSync(join(directory, name))) throw new Error(`plugin binary executable ${name} did not exist`);
    if (version !== stable) throw new Error(`${name}: unsupported apiVersion ${version}`);
    if (!/^\d+[smh]/.test(defaultCacheDuration)) throw new Error(`${name}: defaultCacheDuration is required`);
    if (!(matchImages?.length > 0)) throw new Error(`${name}: matchImages is required`);
  }
  return providers.map((one) => ({ ...one, command: join(directory, one.name) }));
}

/**
 * What is shown to the registry, one after the other.
 *
 * @param image as a pod names it; providers are asked without its tag and digest
 * @param {(name: string, error: Error) => void} failed a provider that fails is none
 */
export async function loginsFor(providers, image, failed) {
  const name = image.replace(/@.*$/, '').replace(/:[^/:]*$/, '');
  const logins = [];
  for (const provider of providers) {
    if (!provider.matchImages.some((glob) => matches(glob, name))) continue;
    try {
      for (const [glob, login] of Object.entries(await ask(provider, name))) {
        if (matches(glob, name)) logins.push({ provider: provider.name, ...login });
      }
    } catch (error) {
      failed(provider.name, error);
    }
  }
  return logins;
}

/** @returns `auth` of its answer */
async function ask({ command, args = [], env = [] }, image) {
  const request = { kind: 'CredentialProviderRequest', apiVersion: stable, image };
  const more = Object.fromEntries(env.map(({ name, value }) => [name, value]));
  const child = spawn(command, args, { env: { ...process.env, ...more }, timeout: patience });
  const [out, errors] = [[], []];
  child.stdout.on('data', (piece) => out.push(piece));
  child.stderr.on('data', (piece) => errors.push(piece));
  child.stdin.on('error', () => undefined); // it may end without reading
  child.stdin.end(`${JSON.stringify(request)}\n`);
  const code = await new Promise((resolve, reject) => child.on('error', reject).on('close', resolve));
  if (code !== 0) throw new Error(`exit status ${code}: ${Buffer.concat(errors)}`);
  const answer = JSON.parse(Buffer.concat(out).toString());
  const { apiVersion, kind, cacheKeyType, auth } = answer;
  const isOne = apiVersion === stable && kind === 'CredentialProviderResponse';
  if (!isOne || !['Image', 'Registry', 'Global'].includes(cacheKeyType)) throw new Error('it cannot be read');
  return auth ?? {};
}

/** `URLsMatchStr`: label by label with `*` for anything in one, the same port, and a prefix of the path. */
function matches(glob, image) {
  const [wanted, found] = [partsOf(glob), partsOf(image)];
  return (
    wanted.port === found.port &&
    wanted.labels.length === found.labels.length &&
    found.path.startsWith(wanted.path) &&
    wanted.labels.every((label, at) => labelMatches(label, found.labels[at]))
  );
}

function partsOf(text) {
  const [, host, port = '', path] = /^([^/:]*)(?::(\d+))?(.*)$/.exec(text);
  return { labels: host.split('.'), port, path };
}

function labelMatches(glob, label) {
  const quoted = glob.split('*').map((part) => part.replace(/[.+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(`^${quoted.join('.*')}$`).test(label);
}
