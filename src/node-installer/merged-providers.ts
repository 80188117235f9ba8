import { parseAllDocuments } from 'yaml';

/** A CredentialProviderConfig as kubelet has it, JSON or YAML. */
export interface ProviderSource {
  /** For messages. */
  readonly path: string;
  readonly text: string;
}

export interface MergedProviders {
  /** The complete CredentialProviderConfig, JSON. */
  readonly text: string;
  /** Of all providers, ours last: each needs a file of that name in kubelet's directory of providers. */
  readonly names: readonly string[];
  /** Those of ours among them. */
  readonly ownNames: readonly string[];
}

/** What a node has of its own cannot be read: nothing is added to it. One line, no content. */
export class ProvidersError extends Error {
  override readonly name = 'ProvidersError';
}

const groupVersion = /^kubelet\.config\.k8s\.io\/v1(?:alpha1|beta1)?$/;
const stableVersion = 'kubelet.config.k8s.io/v1';
const ownName = /^kubelet-image-service(?:-token-.*)?$/;

interface Provider {
  readonly name: string;
  /** As it is written there. */
  readonly entry: object;
}

/**
 * The node's own providers, as they are, and ours after them. An entry that has our name already is ours of an earlier
 * start.
 *
 * @param own text of a CredentialProviderConfig with ours
 * @throws ProvidersError where one of them is no such configuration, or a name is there twice: kubelet does not start so
 */
export function mergeProviders(present: readonly ProviderSource[], own: string): MergedProviders {
  const theirs = present.flatMap(readProviders).filter(({ name }) => !ownName.test(name));
  const ours = readProviders({ path: 'our own providers', text: own });
  const providers = [...theirs, ...ours];
  const names = providers.map(({ name }) => name);
  const twice = names.find((name, at) => names.indexOf(name) !== at);
  if (twice !== undefined) throw new ProvidersError(`two credential providers are named ${twice}`);
  const merged = {
    apiVersion: stableVersion,
    kind: 'CredentialProviderConfig',
    providers: providers.map(({ entry }) => entry),
  };
  return {
    // JSON: a text that stands in YAML without quotes may be something else to kubelet's parser, `on` for one.
    text: `${JSON.stringify(merged, null, 2)}\n`,
    names,
    ownNames: ours.map(({ name }) => name),
  };
}

function readProviders({ path, text }: ProviderSource): readonly Provider[] {
  const expected = 'expected one CredentialProviderConfig of kubelet.config.k8s.io';
  const { apiVersion, kind, providers } = record(parseOne(path, text)) ?? {};
  const isOne = kind === 'CredentialProviderConfig' && groupVersion.test(String(apiVersion));
  if (!isOne || !Array.isArray(providers)) throw new ProvidersError(`${path}: ${expected}`);
  return providers.map((entry: unknown) => {
    const { name } = record(entry) ?? {};
    // It becomes the name of a link.
    if (typeof name !== 'string' || name === '' || /[/\s]/.test(name) || name.startsWith('.')) {
      throw new ProvidersError(`${path}: expected a name in each of its providers`);
    }
    return { name, entry: entry as object };
  });
}

/** As kubelet reads it (YAML 1.1). @throws ProvidersError; the parser's own message would show a line of the file */
function parseOne(path: string, text: string): unknown {
  const documents = parseAllDocuments(text, { version: '1.1', logLevel: 'silent' });
  const [first, ...others] = Array.isArray(documents) ? documents : [];
  if (first === undefined || others.length > 0 || first.errors.length > 0) {
    throw new ProvidersError(`${path}: expected one document of YAML or JSON`);
  }
  try {
    return first.toJS({ maxAliasCount: 100 });
  } catch {
    throw new ProvidersError(`${path}: expected one document of YAML or JSON without many aliases`);
  }
}

function record(value: unknown): Readonly<Record<string, unknown>> | undefined {
  const isRecord = typeof value === 'object' && value !== null && !Array.isArray(value);
  return isRecord ? (value as Readonly<Record<string, unknown>>) : undefined;
}
