import type { Readable } from 'node:stream';
import type { RegistryResponse } from '../contracts/index.js';
import { RegistryError } from '../errors.js';
import type { Digest } from '../reference/digest.js';
import { bodyHeaders, writeHeaders } from './answer-headers.js';
import type { Outcome } from './authorized-client.js';
import { discard } from './bodies.js';
import { withRepository } from './missing-repository.js';
import { type OperationTarget, operationTarget } from './operation-target.js';
import { LocationRefused, sessionLocation } from './upload-session.js';
import {
  failure,
  forbidden,
  type OperationOf,
  type UpstreamCall,
  type UpstreamTools,
} from './upstream-call.js';

type UploadCall = UpstreamCall<OperationOf<'upload'>>;

/** What registries answer instead of the specification's 202 and 204, and clients take (go-containerregistry `write.go`). */
const taken = [201, 202, 204];
const ended = [200, 202, 204];

/**
 * OCI distribution-spec v1.1, "Pushing Blobs". Bodies stream, and are sent once.
 *
 * @throws RegistryError UNSUPPORTED for a method that a session, or the start of one, does not have
 */
export async function upload(tools: UpstreamTools, call: UploadCall): Promise<RegistryResponse> {
  const { method } = call.request;
  if ((method === 'POST') !== (call.operation.session === undefined)) throw new RegistryError('UNSUPPORTED');
  switch (method) {
    case 'POST':
      return start(tools, call);
    case 'PATCH':
      return patch(tools, call);
    case 'PUT':
      return finish(tools, call);
    case 'GET':
      return status(tools, call);
    case 'DELETE':
      return cancel(tools, call);
    default:
      throw new RegistryError('UNSUPPORTED');
  }
}

async function start(tools: UpstreamTools, call: UploadCall): Promise<RegistryResponse> {
  const { digest, mount, repository } = call.operation;
  if (mount?.from !== undefined) {
    const mounted = await tryMount(tools, call, mount.digest);
    if (mounted !== undefined) return mounted;
  } else if (digest !== undefined) {
    return opened(tools, call, await send(tools, call, { body: bodyOf(call), commits: true }), digest);
  }
  const target = operationTarget(tools.upstream, 'POST', { kind: 'upload', repository });
  const plain = { ...call, target };
  return withRepository(tools, plain, async () => opened(tools, plain, await send(tools, plain)));
}

/** @returns undefined where the upstream refuses the mount: an upload can still be opened */
async function tryMount(
  tools: UpstreamTools,
  call: UploadCall,
  digest: Digest,
): Promise<RegistryResponse | undefined> {
  try {
    return await opened(tools, call, await send(tools, call), digest);
  } catch (error) {
    const refused = error instanceof RegistryError && error.status < 500 && error.status !== 429;
    if (!refused || call.signal.aborted) throw error;
    tools.log.debug({ repository: call.operation.repository, reason: error.reason }, 'a mount was refused');
    return undefined;
  }
}

/** The answer to a POST. @param digest of what is there with a 201; without it a 201 makes no sense */
async function opened(
  tools: UpstreamTools,
  call: UploadCall,
  outcome: Outcome,
  digest?: Digest,
): Promise<RegistryResponse> {
  const { status } = outcome.answer;
  if (status === 201 && digest !== undefined) return created(outcome, digest);
  if (status !== 202) throw await failure(tools, call, outcome);
  return going(tools, call, outcome, 202);
}

async function patch(tools: UpstreamTools, call: UploadCall): Promise<RegistryResponse> {
  const outcome = await send(tools, call, { body: bodyOf(call), commits: true });
  if (!taken.includes(outcome.answer.status)) throw await failure(tools, call, outcome);
  return going(tools, call, outcome, 202);
}

async function finish(tools: UpstreamTools, call: UploadCall): Promise<RegistryResponse> {
  const { digest } = call.operation;
  if (digest === undefined) {
    throw new RegistryError('DIGEST_INVALID', { message: 'an upload ends with its digest' });
  }
  const outcome = await send(tools, call, { body: bodyOf(call), commits: true });
  if (outcome.answer.status !== 201) throw await failure(tools, call, outcome);
  return created(outcome, digest);
}

async function status(tools: UpstreamTools, call: UploadCall): Promise<RegistryResponse> {
  const outcome = await send(tools, call);
  if (outcome.answer.status !== 204) throw await failure(tools, call, outcome);
  return going(tools, call, outcome, 204);
}

async function cancel(tools: UpstreamTools, call: UploadCall): Promise<RegistryResponse> {
  const outcome = await send(tools, call);
  if (!ended.includes(outcome.answer.status)) throw await failure(tools, call, outcome);
  discard(outcome.answer.body);
  return { status: 204, headers: writeHeaders(outcome.answer) };
}

interface Sent {
  readonly body?: Readable | undefined;
  /** The registry hashes and copies the whole before it answers. */
  readonly commits?: boolean;
}

/** What takes as long as its blob is large. */
const forBlob = { answerWithin: 'commit', pool: 'blobs' } as const;

/** A redirect is an answer like any other here: no body is sent where it leads. */
function send(tools: UpstreamTools, call: UploadCall, { body, commits = false }: Sent = {}) {
  const { request, signal } = call;
  const target: OperationTarget = call.target;
  return tools.client.send({
    method: request.method,
    target,
    headers: body === undefined ? {} : bodyHeaders(request.headers),
    ...(body !== undefined && { body }),
    redirects: 'refuse',
    ...(commits && forBlob),
    // A second upload that nobody goes on with is forgotten by its registry.
    repeatable: request.method === 'POST' && body === undefined && !commits,
    forbidden: forbidden(tools, call),
    signal,
  });
}

/** Without bytes there is no body: such a request may be sent again. */
function bodyOf({ request }: UploadCall): Readable | undefined {
  return request.headers.get('content-length') === '0' ? undefined : request.body;
}

/** A registry names its canonical digest, which may be in another algorithm than the client's. */
function created({ answer }: Outcome, digest: Digest): RegistryResponse {
  discard(answer.body);
  const headers = writeHeaders(answer);
  if (!headers.has('docker-content-digest')) headers.set('docker-content-digest', digest);
  return { status: 201, headers };
}

/** @throws RegistryError UNAVAILABLE where the session leads elsewhere */
function going(
  tools: UpstreamTools,
  call: UploadCall,
  { answer }: Outcome,
  status: 202 | 204,
): RegistryResponse {
  discard(answer.body);
  try {
    const location = sessionLocation(answer.headers.get('location'), call.target.url, tools.upstream);
    return { status, headers: writeHeaders(answer), location };
  } catch (error) {
    if (!(error instanceof LocationRefused)) throw error;
    const reason = `an upload cannot go on: ${error.message}`;
    tools.log.error({ repository: call.operation.repository, host: tools.upstream.host }, reason);
    throw new RegistryError('UNAVAILABLE', { reason });
  }
}
