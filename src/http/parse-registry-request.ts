import type { RegistryMethod, RegistryOperation } from '../contracts/index.js';
import { RegistryError } from '../errors.js';
import { maxRequestQuery } from '../protocol/page-query.js';
import { parseDigest } from '../reference/digest.js';
import { parseReference } from '../reference/reference.js';
import { isRegistryHost } from '../reference/registry-host.js';
import { parseRepositoryName, shorten } from '../reference/repository-name.js';

export interface ParsedTarget {
  readonly operation: RegistryOperation;
  /** The registry a containerd mirror stands in for. */
  readonly ns?: string;
}

const methods: readonly string[] = ['GET', 'HEAD', 'POST', 'PATCH', 'PUT', 'DELETE'];

/** @throws RegistryError UNSUPPORTED */
export function parseMethod(method: string | undefined): RegistryMethod {
  if (method === undefined || !methods.includes(method)) throw new RegistryError('UNSUPPORTED');
  return method as RegistryMethod;
}

/**
 * Parses a request's target, from `/v2` on, into one of the operations of the OCI distribution-spec v1.1. The last
 * well-known component decides, for a repository's name may hold `manifests` or `tags` itself.
 *
 * @returns undefined where the path is none of the registry API's
 * @throws RegistryError NAME_INVALID, DIGEST_INVALID, TAG_INVALID
 */
export function parseTarget(target: string): ParsedTarget | undefined {
  const mark = target.indexOf('?');
  const path = mark < 0 ? target : target.slice(0, mark);
  const { query, ns } = splitQuery(mark < 0 ? '' : target.slice(mark + 1));
  const mirror = ns === undefined ? {} : { ns };
  if (path === '/v2' || path === '/v2/') return { operation: { kind: 'ping' } };
  if (!path.startsWith('/v2/')) return undefined;
  const rest = path.slice('/v2/'.length);
  if (rest === '_catalog') return { operation: { kind: 'catalog', page: query } };
  const operation = parseRepositoryPath(rest, query);
  return operation && { operation, ...mirror };
}

function parseRepositoryPath(rest: string, query: string): RegistryOperation | undefined {
  const tags = /^(.+)\/tags\/list$/.exec(rest);
  if (tags) return { kind: 'tags', repository: name(tags[1]), page: query };
  const upload = /^(.+)\/blobs\/uploads(?:\/([^/]*))?$/.exec(rest);
  if (upload) return parseUpload(name(upload[1]), upload[2] ?? '', query);
  const item = /^(.+)\/(manifests|blobs|referrers)\/([^/]+)$/.exec(rest);
  if (!item) return undefined;
  const repository = name(item[1]);
  const last = decode(item[3] ?? '');
  if (item[2] === 'manifests') return { kind: 'manifest', repository, reference: parseReference(last) };
  const digest = parseDigest(last);
  return item[2] === 'blobs'
    ? { kind: 'blob', repository, digest }
    : { kind: 'referrers', repository, digest, page: query };
}

function parseUpload(repository: ReturnType<typeof name>, session: string, query: string): RegistryOperation {
  const parameters = new URLSearchParams(query);
  const digest = parameters.get('digest');
  // A mount is another way to begin; where an upload goes on it means nothing.
  const mount = session === '' ? parameters.get('mount') : null;
  const from = parameters.get('from');
  return {
    kind: 'upload',
    repository,
    ...(session !== '' && { session }),
    ...(digest && { digest: parseDigest(digest) }),
    ...(mount && { mount: { digest: parseDigest(mount), ...(from && { from: parseRepositoryName(from) }) } }),
  };
}

/** A repository's name is never percent-decoded: an encoded slash or dot segment is no name (threat 18). */
function name(text: string | undefined) {
  return parseRepositoryName(text ?? '');
}

/** A digest's colon may come encoded. */
function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new RegistryError('NAME_INVALID', {
      message: 'invalid percent-encoding',
      detail: { text: shorten(text) },
    });
  }
}

/** Takes `ns` out, and leaves the rest of the query as it was sent. */
function splitQuery(text: string): { query: string; ns?: string } {
  if (text === '') return { query: '' };
  if (text.length > maxRequestQuery)
    throw new RegistryError('NAME_INVALID', { message: 'the query is too long' });
  if (/[^\x21-\x7e]/.test(text)) throw new RegistryError('NAME_INVALID', { message: 'invalid query' });
  const ns = new URLSearchParams(text).getAll('ns');
  const query = text
    .split('&')
    .filter((part) => part !== '' && new URLSearchParams(part).get('ns') === null)
    .join('&');
  const [first] = ns;
  if (first === undefined) return { query };
  if (ns.length > 1 || !isRegistryHost(first))
    throw new RegistryError('NAME_INVALID', { message: 'invalid ns' });
  return { query, ns: first };
}
