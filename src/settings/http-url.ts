import { z } from 'zod';

/** An http or https URL that names a server only: no path, query, fragment or credentials. Parses to a URL. */
export function serverUrl(protocols: readonly ('http' | 'https')[] = ['http', 'https']) {
  const expected = `expected a URL such as ${protocols.at(-1)}://docker.example.com, without path, query and credentials`;
  return z
    .string({ error: expected })
    .refine((text) => parseServerUrl(text, protocols) !== undefined, { error: expected, abort: true })
    .transform((text) => new URL(text))
    .meta({ title: 'URL' });
}

function parseServerUrl(text: string, protocols: readonly string[]): URL | undefined {
  // WHATWG's parser forgives what a person should know of: backslashes, tabs, `https:host`, a bare `?` or `#`.
  if (!/^https?:\/\/[^\s\\/?#@]+\/?$/i.test(text) || !URL.canParse(text)) return undefined;
  const url = new URL(text);
  return protocols.includes(url.protocol.slice(0, -1)) ? url : undefined;
}
