import type { RegistryResponse } from '../contracts/index.js';
import type { ClientRequest, ClientResponse } from './client-request.js';
import type { UploadPlace, UploadSessions } from './upload-sessions.js';

/**
 * The answer to a push: its `Location` leads to ourselves, as a path alone. A wrong scheme, host or port there is the
 * classic way to break uploads behind a proxy (distribution#479, #996, #2862).
 */
export function answerWrite(
  { operation, ns }: ClientRequest,
  response: RegistryResponse,
  sessions: UploadSessions,
  place: UploadPlace,
): ClientResponse {
  const { location, nextPage: _, ...rest } = response;
  // Without it the same path is another repository's.
  const mirror = ns === undefined ? '' : `?ns=${encodeURIComponent(ns)}`;
  if (operation.kind === 'upload' && response.status !== 201) {
    if (location === undefined) return rest;
    const path = `/v2/${operation.repository}/blobs/uploads/${sessions.seal(location, place)}`;
    return { ...rest, location: path + mirror };
  }
  const digest = response.headers.get('docker-content-digest');
  if (response.status !== 201 || digest === undefined || !('repository' in operation)) return rest;
  const kind = operation.kind === 'manifest' ? 'manifests' : 'blobs';
  return { ...rest, location: `/v2/${operation.repository}/${kind}/${digest}${mirror}` };
}
