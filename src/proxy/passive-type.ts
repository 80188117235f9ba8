import type { RegistryOperation, RegistryResponse } from '../contracts/index.js';

const unknownBytes = 'application/octet-stream';

/**
 * `application/…` and no comma: of a list of types browsers take the last one (Fetch section 2.2.3, "extract a MIME
 * type"). `text/plain` is what containerd knows manifests of the oldest schema by.
 */
const known = /^(?:(?:application|binary)\/[\w.+-]+|text\/plain)[ \t]*(?:;[^,]*)?$/i;

/** Documents and scripts: HTML, everything in XML, which XHTML hides in as well, and JavaScript under all its names. */
const active = /^[^;]*(?:html|xml|(?:java|ecma)script)/i;

/**
 * An upstream's answer without a type that a browser would run as a document, a style or a script: whoever pushes
 * chooses it at some registries. Clients ignore a blob's type, and take a manifest's that is none for unknown.
 */
export function withPassiveType(response: RegistryResponse, { kind }: RegistryOperation): RegistryResponse {
  const { status, headers } = response;
  const type = headers.get('content-type');
  // A manifest without a type stays so: some clients look into it then.
  const isMissing = type === undefined && kind === 'blob' && (status === 200 || status === 206);
  if (type === undefined ? !isMissing : known.test(type) && !active.test(type)) return response;
  return { ...response, headers: new Map(headers).set('content-type', unknownBytes) };
}
