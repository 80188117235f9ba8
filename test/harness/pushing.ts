import assert from 'node:assert/strict';
import type { Readable } from 'node:stream';
import { digestOf } from '../../src/reference/digest.js';
import type { ImageFiles } from '../../src/testing/index.js';
import { bytesOf } from '../../src/testing/index.js';
import type { Answer, ClientRequest } from './client.js';

/** Sends with somebody's credentials. */
export type Ask = (path: string, options?: ClientRequest) => Promise<Answer>;

const bytesType = { 'content-type': 'application/octet-stream' };

/** Where an upload goes on. @throws an Error where there is no Location */
export function locationOf(answer: Answer): string {
  const { location } = answer.headers;
  assert.ok(location !== undefined, `no Location: ${answer.status} ${answer.text}`);
  return location;
}

/** @returns the session's path */
export async function openUpload(ask: Ask, repository: string): Promise<string> {
  const answer = await ask(`/v2/${repository}/blobs/uploads/`, { method: 'POST' });
  assert.equal(answer.status, 202, answer.text);
  return locationOf(answer);
}

export function patchUpload(
  ask: Ask,
  session: string,
  body: Buffer | Readable,
  headers: Readonly<Record<string, string>> = {},
): Promise<Answer> {
  return ask(session, { method: 'PATCH', body, headers: { ...bytesType, ...headers } });
}

export function closeUpload(ask: Ask, session: string, digest: string, body?: Buffer): Promise<Answer> {
  const path = `${session}${session.includes('?') ? '&' : '?'}digest=${encodeURIComponent(digest)}`;
  return ask(path, { method: 'PUT', ...(body && { body, headers: bytesType }) });
}

/** As docker does: a session, one PATCH of unknown length where it is a stream, an empty PUT. */
export async function pushBlob(ask: Ask, repository: string, bytes: Buffer): Promise<Answer> {
  const session = await openUpload(ask, repository);
  const patched = await patchUpload(ask, session, bytes);
  assert.equal(patched.status, 202, patched.text);
  return closeUpload(ask, locationOf(patched), digestOf(bytes));
}

export function putManifest(
  ask: Ask,
  repository: string,
  reference: string,
  { bytes, mediaType }: { readonly bytes: Buffer; readonly mediaType: string },
): Promise<Answer> {
  const headers = { 'content-type': mediaType };
  return ask(`/v2/${repository}/manifests/${reference}`, { method: 'PUT', body: bytes, headers });
}

/** Blobs, then what an index holds, then the root. @returns the answer to the root */
export async function pushImage(
  ask: Ask,
  repository: string,
  reference: string,
  { blobs, children, root }: ImageFiles,
): Promise<Answer> {
  for (const blob of blobs) {
    const answer = await pushBlob(ask, repository, bytesOf(blob));
    assert.equal(answer.status, 201, answer.text);
  }
  for (const child of children) {
    const answer = await putManifest(ask, repository, child.digest, child);
    assert.equal(answer.status, 201, answer.text);
  }
  return putManifest(ask, repository, reference, root);
}
