interface Pattern {
  /** As it stands in the answer. */
  readonly text: string;
  /** Without scheme and API version: what patterns are sorted by. */
  readonly key: string;
  readonly labels: readonly string[];
  readonly port: string;
  /** With its slash, or empty. */
  readonly path: string;
}

/**
 * The keys of kubelet's `auth` that are for an image, the one it tries first at the front. By kubelet's rules
 * (kubernetes `pkg/credentialprovider/keyring.go`): the host has as many labels, each matching its own with `*` for any
 * characters; the port is the same text, or missing in both; the path is a prefix of the image's, wherever it ends. A
 * scheme, and `/v1/` or `/v2/` in front of the path, mean nothing. Of several the last in the order of bytes comes first:
 * the longer path. `index.docker.io` is for Docker Hub's images where nothing else is.
 *
 * @param image `registry/repository`
 */
export function matchingKeys(keys: readonly string[], image: string): readonly string[] {
  const patterns = keys.map(parseKey).sort((a, b) => (a.key < b.key ? 1 : a.key > b.key ? -1 : 0));
  const target = split(image);
  const found = patterns.filter((pattern) => matches(pattern, target));
  if (found.length > 0 || !isOfDockerHub(image)) return found.map(({ text }) => text);
  return patterns.filter(({ key }) => key === 'index.docker.io').map(({ text }) => text);
}

function parseKey(text: string): Pattern {
  const bare = text.replace(/^https?:\/\//, '').replace(/[?#].*$/s, '');
  const { host, path } = cut(bare);
  const effective = /^\/v[12]\//.test(path) ? path.slice(3) : path;
  const key = effective === '/' ? host : `${host}${effective}`;
  return { text, key, ...split(key) };
}

function split(hostAndPath: string): Pick<Pattern, 'labels' | 'port' | 'path'> {
  const { host, path } = cut(hostAndPath);
  // A bracketed IPv6 address has colons of its own.
  const [, name = host, port = ''] = /^(.*[^:\]]|\[.*\]):(\d*)$/.exec(host) ?? [];
  return { labels: name.split('.'), port, path };
}

function cut(hostAndPath: string): { readonly host: string; readonly path: string } {
  const slash = hostAndPath.indexOf('/');
  if (slash < 0) return { host: hostAndPath, path: '' };
  return { host: hostAndPath.slice(0, slash), path: hostAndPath.slice(slash) };
}

function matches(pattern: Pattern, image: Pick<Pattern, 'labels' | 'port' | 'path'>): boolean {
  return (
    pattern.port === image.port &&
    pattern.labels.length === image.labels.length &&
    image.path.startsWith(pattern.path) &&
    pattern.labels.every((label, i) => globMatches(label, image.labels[i] ?? ''))
  );
}

/** In linear steps for each `*`, whatever the pattern: it comes from outside. */
function globMatches(glob: string, text: string): boolean {
  const [first = '', ...rest] = glob.split('*');
  const last = rest.pop();
  if (last === undefined) return glob === text;
  if (!text.startsWith(first)) return false;
  let at = first.length;
  for (const part of rest) {
    const found = text.indexOf(part, at);
    if (found < 0) return false;
    at = found + part.length;
  }
  return text.length - last.length >= at && text.endsWith(last);
}

function isOfDockerHub(image: string): boolean {
  const { host } = cut(image);
  return host === 'docker.io' || host === 'index.docker.io';
}
