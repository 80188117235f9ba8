import type { RegistryResponse } from '../contracts/index.js';
import { RegistryError } from '../errors.js';
import { parseRange, printRange } from '../protocol/range.js';
import { isComputable } from '../reference/digest.js';
import { contentLength, downwardHeaders, isEncoded, upwardHeaders } from './answer-headers.js';
import type { Outcome } from './authorized-client.js';
import { cut, discard, verifyDigest, verifyLength } from './bodies.js';
import type { Answer } from './transport.js';
import { failure, type OperationOf, type UpstreamCall, type UpstreamTools } from './upstream-call.js';
import { RepositoryRefused } from './upstream-errors.js';

/** OCI distribution-spec v1.1, "Pulling blobs". */
export async function fetchBlob(
  tools: UpstreamTools,
  call: UpstreamCall<OperationOf<'blob'>>,
): Promise<RegistryResponse> {
  return call.request.method === 'HEAD' ? headBlob(tools, call) : getBlob(tools, call);
}

async function getBlob(
  tools: UpstreamTools,
  call: UpstreamCall<OperationOf<'blob'>>,
): Promise<RegistryResponse> {
  const handOn = tools.blobs === 'redirect' && call.request.blobs !== 'stream';
  const outcome = await send(tools, call, 'GET', handOn ? 'hand-on' : 'follow');
  if (outcome.location !== undefined) {
    const headers = new Map([['docker-content-digest', call.operation.digest]]);
    return { status: 307, headers, location: outcome.location };
  }
  const { answer } = outcome;
  const headers = blobHeaders(call, answer);
  switch (answer.status) {
    case 200:
      return { status: 200, headers, body: wholeBody(call, answer) };
    case 206:
      return { status: 206, headers, body: partBody(call, answer, headers) };
    case 304:
      discard(answer.body);
      return { status: 304, headers };
    default:
      throw await failure(tools, call, outcome);
  }
}

/**
 * Storage URLs are often signed for GET alone (GHCR), and some registries refuse a blob's HEAD (ECR Public): then a GET
 * is dropped after its headers.
 */
async function headBlob(
  tools: UpstreamTools,
  call: UpstreamCall<OperationOf<'blob'>>,
): Promise<RegistryResponse> {
  const outcome = await headOutcome(tools, call);
  if (outcome !== undefined) {
    const { answer } = outcome;
    const { status } = answer;
    const known = status === 304 || (status === 200 && contentLength(answer) !== undefined);
    if (known || status === 404 || status === 429 || (status >= 500 && status !== 501)) {
      if (!known) throw await failure(tools, call, outcome);
      discard(answer.body);
      return { status, headers: blobHeaders(call, answer) };
    }
    discard(answer.body);
  }
  const whole = await send(tools, call, 'GET', 'follow');
  if (whole.answer.status !== 200 && whole.answer.status !== 304) throw await failure(tools, call, whole);
  cut(whole.answer.body);
  return { status: whole.answer.status, headers: blobHeaders(call, whole.answer) };
}

/** @returns undefined where the registry refuses it as if the repository were not ours: its GET decides */
async function headOutcome(
  tools: UpstreamTools,
  call: UpstreamCall<OperationOf<'blob'>>,
): Promise<Outcome | undefined> {
  try {
    return await send(tools, call, 'HEAD', 'follow');
  } catch (error) {
    if (error instanceof RepositoryRefused) return undefined;
    throw error;
  }
}

function send(
  { client }: UpstreamTools,
  call: UpstreamCall<OperationOf<'blob'>>,
  method: 'GET' | 'HEAD',
  redirects: 'follow' | 'hand-on',
): Promise<Outcome> {
  const range = method === 'GET' ? wantedRange(call) : undefined;
  const without = ['content-type', 'content-length', 'range', ...(range === undefined ? ['if-range'] : [])];
  const headers = {
    ...upwardHeaders(call.request.headers, without),
    ...(range !== undefined && { range: printRange(range) }),
  };
  // Of the GET that stands for a HEAD nobody waits to read a byte.
  const pool = call.request.method === 'GET' ? ({ pool: 'pulls' } as const) : {};
  return client.send({ method, target: call.target, headers, redirects, ...pool, signal: call.signal });
}

/** Only one range of bytes goes up; anything else is ignored, as RFC 9110 section 14.2 allows. */
function wantedRange({ request }: UpstreamCall<OperationOf<'blob'>>) {
  return request.method === 'GET' ? parseRange(request.headers.get('range') ?? '') : undefined;
}

function blobHeaders(call: UpstreamCall<OperationOf<'blob'>>, answer: Answer): Map<string, string> {
  const headers = downwardHeaders(answer);
  headers.set('docker-content-digest', call.operation.digest);
  return headers;
}

/** A length that is known is enforced by the transport. Without one only the digest tells whether a body is whole. */
function wholeBody(call: UpstreamCall<OperationOf<'blob'>>, answer: Answer) {
  if (contentLength(answer) !== undefined) return answer.body;
  const { digest } = call.operation;
  if (isEncoded(answer) || !isComputable(digest)) {
    cut(answer.body);
    throw new RegistryError('UNAVAILABLE', { reason: 'a blob without a length that cannot be verified' });
  }
  return verifyDigest(answer.body, digest);
}

/** RFC 9110 section 14.4: a part says which it is, and so how long. */
function partBody(call: UpstreamCall<OperationOf<'blob'>>, answer: Answer, headers: Map<string, string>) {
  const wanted = wantedRange(call);
  const match = /^bytes (\d{1,15})-(\d{1,15})\/(?:\d{1,15}|\*)$/.exec(
    answer.headers.get('content-range') ?? '',
  );
  const first = Number(match?.[1]);
  const length = Number(match?.[2]) - first + 1;
  const asked = wanted !== undefined && (wanted.kind === 'suffix' || wanted.first === first);
  const declared = contentLength(answer);
  if (!match || !asked || length <= 0 || (declared !== undefined && declared !== length)) {
    cut(answer.body);
    throw new RegistryError('UNAVAILABLE', { reason: 'the upstream sent a part that was not asked for' });
  }
  if (declared !== undefined) return answer.body;
  headers.set('content-length', String(length));
  return verifyLength(answer.body, length);
}
