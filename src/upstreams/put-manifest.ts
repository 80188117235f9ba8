import type { RegistryResponse } from '../contracts/index.js';
import { RegistryError } from '../errors.js';
import { type HeldBytes, OverBudget } from '../protocol/byte-budget.js';
import { readBounded } from '../protocol/read-bounded.js';
import { type Digest, digestAlgorithm, digestOf, isComputable, isDigest } from '../reference/digest.js';
import { writeHeaders } from './answer-headers.js';
import { discard } from './bodies.js';
import { maxManifest, signedSchema1 } from './manifest-limits.js';
import { withRepository } from './missing-repository.js';
import {
  failure,
  forbidden,
  type OperationOf,
  type UpstreamCall,
  type UpstreamTools,
} from './upstream-call.js';

type ManifestCall = UpstreamCall<OperationOf<'manifest'>>;

/** What registries answer instead of 201, and clients take (go-containerregistry `write.go`). */
const taken = [200, 201, 202];

/**
 * OCI distribution-spec v1.1, "Pushing Manifests". A manifest is held in memory: it is small, nothing of one that is
 * cut short goes up, and it can be sent again where a token was stale.
 *
 * @throws RegistryError MANIFEST_INVALID with status 413 over 4 MiB, SIZE_INVALID where the client's body is not whole,
 *   TOOMANYREQUESTS where too much of others is held
 */
export async function putManifest(tools: UpstreamTools, call: ManifestCall): Promise<RegistryResponse> {
  const held = tools.memory.open();
  try {
    const bytes = await readManifest(tools, call, held);
    return await withRepository(tools, call, () => put(tools, call, bytes));
  } finally {
    held.release();
  }
}

async function put(tools: UpstreamTools, call: ManifestCall, bytes: Buffer): Promise<RegistryResponse> {
  const type = call.request.headers.get('content-type');
  const outcome = await tools.client.send({
    method: 'PUT',
    target: call.target,
    headers: type === undefined ? {} : { 'content-type': type },
    body: bytes,
    repeatable: true,
    redirects: 'refuse',
    forbidden: forbidden(tools, call),
    signal: call.signal,
  });
  const { answer } = outcome;
  if (!taken.includes(answer.status)) throw await failure(tools, call, outcome);
  discard(answer.body);
  const headers = writeHeaders(answer);
  headers.set('docker-content-digest', storedAs(tools, call, headers.get('docker-content-digest'), bytes));
  return { status: 201, headers };
}

async function readManifest(
  tools: UpstreamTools,
  { request, signal }: ManifestCall,
  held: HeldBytes,
): Promise<Buffer> {
  const { body, headers } = request;
  if (body === undefined) return Buffer.alloc(0);
  const tooLarge = new RegistryError('MANIFEST_INVALID', {
    message: `manifest is larger than ${maxManifest} bytes`,
    status: 413,
  });
  const length = headers.get('content-length');
  if (length !== undefined && Number(length) > maxManifest) throw tooLarge;
  let bytes: Buffer | undefined;
  try {
    bytes = await readBounded(body, maxManifest, tools.bodyTime, held);
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    if (error instanceof OverBudget) throw error;
    throw new RegistryError('SIZE_INVALID', { reason: 'the client cut its manifest short', cause: error });
  }
  if (bytes === undefined) throw tooLarge;
  if (length !== undefined && Number(length) !== bytes.length) {
    throw new RegistryError('SIZE_INVALID', { reason: 'the manifest is not as long as the client said' });
  }
  return bytes;
}

/**
 * The digest the client is told. Registries may name it in another algorithm than the client's, but never one that is
 * not of these bytes: clients sign what they are told here.
 *
 * @param said by the upstream
 * @throws RegistryError UNAVAILABLE
 */
function storedAs(
  tools: UpstreamTools,
  { operation, request }: ManifestCall,
  said: string | undefined,
  bytes: Buffer,
): Digest {
  const { reference, repository } = operation;
  const asked = reference.kind === 'digest' && isComputable(reference.digest) ? reference.digest : undefined;
  const own = digestOf(bytes, asked === undefined ? 'sha256' : digestAlgorithm(asked));
  if (said === undefined || !isDigest(said)) return own;
  const type = (request.headers.get('content-type') ?? '').split(';')[0]?.trim();
  if (type === signedSchema1) return said;
  if (!isComputable(said)) return own;
  if (digestOf(bytes, digestAlgorithm(said)) === said) return said;
  const reason = `the upstream stored a manifest as ${said}, which is not the digest of its bytes`;
  tools.log.error({ repository, host: tools.upstream.host }, reason);
  throw new RegistryError('UNAVAILABLE', { reason });
}
