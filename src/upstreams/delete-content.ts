import type { RegistryResponse } from '../contracts/index.js';
import { writeHeaders } from './answer-headers.js';
import { discard } from './bodies.js';
import {
  failure,
  forbidden,
  type OperationOf,
  type UpstreamCall,
  type UpstreamTools,
} from './upstream-call.js';

/** What registries answer instead of 202, and clients take (go-containerregistry `delete.go`). */
const gone = [200, 202, 204];

/** OCI distribution-spec v1.1, "Deleting tags", "Deleting Manifests", "Deleting Blobs". */
export async function deleteContent(
  tools: UpstreamTools,
  call: UpstreamCall<OperationOf<'manifest' | 'blob'>>,
): Promise<RegistryResponse> {
  const outcome = await tools.client.send({
    method: 'DELETE',
    target: call.target,
    headers: {},
    redirects: 'refuse',
    forbidden: forbidden(tools, call),
    signal: call.signal,
  });
  if (!gone.includes(outcome.answer.status)) throw await failure(tools, call, outcome);
  discard(outcome.answer.body);
  return { status: 202, headers: writeHeaders(outcome.answer) };
}
