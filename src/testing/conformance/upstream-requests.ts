import type { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import type {
  RegistryMethod,
  RegistryOperation,
  RegistryRequest,
  RegistryResponse,
} from '../../contracts/registry-request.js';
import { parseDigest } from '../../reference/digest.js';
import { parseReference } from '../../reference/reference.js';
import { parseRepositoryName } from '../../reference/repository-name.js';

/** A registry request from plain texts. */
export function registryRequest(
  method: RegistryMethod,
  operation: RegistryOperation,
  headers: Readonly<Record<string, string>> = {},
  body?: Readable,
): RegistryRequest {
  return { method, operation, headers: new Map(Object.entries(headers)), ...(body && { body }) };
}

export function manifestOf(repository: string, reference: string): RegistryOperation {
  return {
    kind: 'manifest',
    repository: parseRepositoryName(repository),
    reference: parseReference(reference),
  };
}

export function blobOf(repository: string, digest: string): RegistryOperation {
  return { kind: 'blob', repository: parseRepositoryName(repository), digest: parseDigest(digest) };
}

export function tagsOf(repository: string, page = ''): RegistryOperation {
  return { kind: 'tags', repository: parseRepositoryName(repository), page };
}

export function referrersOf(repository: string, digest: string, page = ''): RegistryOperation {
  return {
    kind: 'referrers',
    repository: parseRepositoryName(repository),
    digest: parseDigest(digest),
    page,
  };
}

/** The whole body; empty where there is none. */
export async function bodyOf(response: RegistryResponse): Promise<Buffer> {
  return response.body ? buffer(response.body) : Buffer.alloc(0);
}

/** The whole body as JSON. */
export async function jsonOf(response: RegistryResponse): Promise<unknown> {
  return JSON.parse(String(await bodyOf(response)));
}

/** A blob's bytes, wherever the answer says that they are. */
export async function blobBytes(response: RegistryResponse, range?: string): Promise<Buffer> {
  if (response.status !== 307 || !response.location) return bodyOf(response);
  const stored = await fetch(response.location, { headers: range ? { range } : {} });
  return Buffer.from(await stored.arrayBuffer());
}
