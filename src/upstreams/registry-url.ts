import { z } from 'zod';
import { isRegistryHost } from '../reference/registry-host.js';
import { shorten } from '../reference/repository-name.js';
import { presetFor } from './presets/index.js';

const expected =
  'expected a host such as gcr.io or registry.example.com:5000, or a URL such as https://gcr.io';

/**
 * The registry an upstream is: `host[:port]`, which means https, or an http(s) URL of that. Parses to a URL. What people
 * paste beside it (a repository, a user name, `docker://`) is told apart, for each belongs elsewhere.
 */
export const registryUrl = () =>
  z.string({ error: expected }).transform((text, context) => {
    const parsed = parse(text);
    if (parsed instanceof URL) return parsed;
    context.addIssue({ code: 'custom', message: parsed });
    return z.NEVER;
  });

/** @returns what is wrong with it, where it is none */
function parse(text: string): URL | string {
  const full = /^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `https://${text}`;
  // WHATWG's parser forgives what a person should know of: backslashes, tabs, line breaks, more slashes.
  if (!/^[^/]+:\/\/[^/\s\\][^\s\\]*$/.test(full) || !URL.canParse(full)) return expected;
  const url = new URL(full);
  // Never quoted: it may hold a password.
  if (/^[^/]*\/\/[^/?#]*@/.test(full)) {
    return 'expected a registry without a user name or password: they belong to `credentials`';
  }
  if (!isRegistryHost(url.host)) return expected;
  if (!/^https?:$/.test(url.protocol)) return `expected ${url.host}, without ${url.protocol}//`;
  if (/[?#]/.test(full)) return expected;
  if (url.pathname !== '/') return withoutPath(url);
  if (url.protocol === 'http:' && presetFor(url).name !== 'generic') {
    return `expected ${url.hostname}, without http://: it speaks https only`;
  }
  return url;
}

function withoutPath(url: URL): string {
  const { host, pathname } = url;
  const without = `expected ${host}, without ${shorten(pathname)}`;
  const [first = '', ...rest] = pathname.split('/').filter((part) => part !== '');
  const isApi = first === '' || /^v[12]$/.test(first);
  const repository = nameIn([first, ...rest].join('/').replace(/[:@].*$/, ''), url);
  return isApi
    ? without
    : `${without}: which repositories is for a route to say (\`rewrite: ${shorten(repository)}/\`)`;
}

/** `hub.docker.com/_/alpine` is the page of `library/alpine`. */
function nameIn(path: string, url: URL): string {
  const { webPath, defaultNamespace } = presetFor(url);
  return webPath === undefined
    ? path
    : path.replace(webPath, (page) => (page === '_/' ? `${defaultNamespace}/` : ''));
}
