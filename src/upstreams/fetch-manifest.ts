import type { Readable } from 'node:stream';
import type { RegistryResponse } from '../contracts/index.js';
import { RegistryError } from '../errors.js';
import { type HeldBytes, heldBody, OverBudget } from '../protocol/byte-budget.js';
import { readBounded } from '../protocol/read-bounded.js';
import { type Digest, digestAlgorithm, digestOf, isComputable, isDigest } from '../reference/digest.js';
import { contentLength, downwardHeaders, isEncoded, upwardHeaders } from './answer-headers.js';
import { cut, discard } from './bodies.js';
import { maxManifest, signedSchema1 } from './manifest-limits.js';
import { failure, type OperationOf, type UpstreamCall, type UpstreamTools } from './upstream-call.js';

/** Answers to a HEAD that say the method is not known here. */
const noHead = [400, 405, 501];

/** OCI distribution-spec v1.1, "Pulling manifests". A manifest is held in memory: it is small, and was verified then. */
export async function fetchManifest(
  tools: UpstreamTools,
  call: UpstreamCall<OperationOf<'manifest'>>,
): Promise<RegistryResponse> {
  if (call.request.method === 'GET') return getManifest(tools, call);
  const outcome = await send(tools, call, 'HEAD');
  const { answer } = outcome;
  if (answer.status === 200 || answer.status === 304) {
    discard(answer.body);
    const headers = downwardHeaders(answer);
    const whole = headers.has('docker-content-digest') && headers.has('content-length');
    if (answer.status === 304 || whole) return { status: answer.status, headers };
  } else if (noHead.includes(answer.status)) {
    discard(answer.body);
  } else {
    throw await failure(tools, call, outcome);
  }
  const { body, ...withoutBody } = await getManifest(tools, call);
  body?.destroy();
  return withoutBody;
}

function send(
  { client }: UpstreamTools,
  call: UpstreamCall<OperationOf<'manifest'>>,
  method: 'GET' | 'HEAD',
) {
  // A part of a manifest could not be verified.
  const headers = upwardHeaders(call.request.headers, [
    'range',
    'if-range',
    'content-type',
    'content-length',
  ]);
  return client.send({ method, target: call.target, headers, redirects: 'follow', signal: call.signal });
}

async function getManifest(
  tools: UpstreamTools,
  call: UpstreamCall<OperationOf<'manifest'>>,
): Promise<RegistryResponse> {
  const outcome = await send(tools, call, 'GET');
  const { answer } = outcome;
  const headers = downwardHeaders(answer);
  if (answer.status === 304) {
    discard(answer.body);
    return { status: 304, headers };
  }
  if (answer.status !== 200) throw await failure(tools, call, outcome);
  if (isEncoded(answer)) {
    cut(answer.body);
    throw new RegistryError('UNAVAILABLE', { reason: 'the upstream compresses a manifest unasked' });
  }
  const held = tools.memory.open();
  try {
    const declared = contentLength(answer);
    const bytes = await readManifest(tools, call, answer.body, { declared, held });
    headers.set('content-length', String(bytes.length));
    headers.set('docker-content-digest', verified(call, headers, bytes, declared));
    return { status: 200, headers, body: heldBody(bytes, held, call.signal) };
  } catch (error) {
    held.release();
    throw error;
  }
}

async function readManifest(
  tools: UpstreamTools,
  call: UpstreamCall<OperationOf<'manifest'>>,
  body: Readable,
  { declared, held }: { readonly declared: number | undefined; readonly held: HeldBytes },
): Promise<Buffer> {
  if (declared !== undefined && declared > maxManifest) {
    cut(body);
    throw tooLarge();
  }
  let bytes: Buffer | undefined;
  try {
    bytes = await readBounded(body, maxManifest, tools.bodyTime, held);
  } catch (error) {
    if (call.signal.aborted) throw call.signal.reason;
    if (error instanceof OverBudget) throw error;
    throw cutShort(error);
  }
  if (bytes === undefined) throw tooLarge();
  return bytes;
}

function tooLarge(): RegistryError {
  return new RegistryError('MANIFEST_INVALID', { message: `manifest is larger than ${maxManifest} bytes` });
}

/** @throws RegistryError UNAVAILABLE where the bytes are not what was asked for, or not what the upstream says */
function verified(
  call: UpstreamCall<OperationOf<'manifest'>>,
  headers: ReadonlyMap<string, string>,
  bytes: Buffer,
  declared: number | undefined,
): Digest {
  const { reference } = call.operation;
  const said = headers.get('docker-content-digest');
  const asked = reference.kind === 'digest' ? reference.digest : undefined;
  const expected = asked ?? (said !== undefined && isDigest(said) ? said : undefined);
  if (expected === undefined) {
    // With neither length nor digest, an answer that ends with its connection may have been cut.
    if (declared === undefined && !isJson(bytes)) throw cutShort();
    return digestOf(bytes);
  }
  const type = (headers.get('content-type') ?? '').split(';')[0]?.trim();
  if (type === signedSchema1 || !isComputable(expected)) return expected;
  if (digestOf(bytes, digestAlgorithm(expected)) !== expected) {
    throw new RegistryError('UNAVAILABLE', { reason: `the upstream's bytes are not those of ${expected}` });
  }
  return expected;
}

function isJson(bytes: Buffer): boolean {
  try {
    JSON.parse(bytes.toString('utf8'));
    return true;
  } catch {
    return false;
  }
}

function cutShort(cause?: unknown): RegistryError {
  return new RegistryError('UNAVAILABLE', { reason: 'the upstream cut a manifest short', cause });
}
