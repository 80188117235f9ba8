import type { IncomingHttpHeaders, OutgoingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import type { Clock } from '../contracts/clock.js';
import type { Credential } from '../contracts/credential-source.js';
import type { Log } from '../contracts/log.js';
import type { Metrics } from '../contracts/metrics.js';
import type { CriRuntime } from '../contracts/runtime.js';
import { describeError } from '../errors.js';
import type { PullAttempt, PullOutcome } from '../image-service/pull-attempt.js';
import { faultOf } from '../image-service/pull-fault.js';
import type { PullResult, PullService } from '../image-service/pull-service.js';
import { grpcStatus } from '../protocol/grpc-status.js';
import { parseImageReference } from '../reference/image-reference.js';
import { withoutShown } from './answer-message.js';
import { appendAdvice } from './append-advice.js';
import { appendAuth } from './append-auth.js';
import { CallFailure } from './call-failure.js';
import type { CallFront } from './call-front.js';
import { ClientCall } from './client-call.js';
import { askedPull } from './cri/asked-pull.js';
import { authConfigOf } from './cri/auth-config.js';
import { frame, type GrpcMessage, readMessage } from './frames.js';
import { imageServicePath } from './image-service-path.js';
import { type ReadPull, readImageRef, readPull } from './pull-message.js';
import { firstValue, type RawHeaders } from './raw-headers.js';
import { readRequestHeaders, relay } from './relay.js';
import { decodeStatusMessage, printTimeout } from './status.js';
import { askWhole, giveAnswer, statusOf, type WholeAnswer } from './whole-answer.js';

export interface CriFrontParts {
  readonly runtime: CriRuntime;
  readonly pulls: Pick<PullService, 'pull'>;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly clock: Clock;
}

const pullImage = `${imageServicePath}PullImage`;

/**
 * Image calls for a runtime that speaks CRI: relayed byte for byte, methods we do not know included. Only a PullImage
 * without kubelet's own credential may get one, as bytes at the end of its message.
 */
export class CriFront implements CallFront {
  readonly #parts: CriFrontParts;
  readonly #unread: ReturnType<Metrics['counter']>;

  constructor(parts: CriFrontParts) {
    this.#parts = parts;
    this.#unread = parts.metrics.counter(
      'pull_requests_unread_total',
      'PullImage requests that could not be read, and were relayed without a credential',
    );
    this.#unread.add({}, 0);
  }

  handle(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, rawHeaders: RawHeaders): void {
    const { runtime } = this.#parts;
    const late = `deadline exceeded: the container runtime at ${runtime.endpoint} did not answer in time`;
    const call = new ClientCall(stream, rawHeaders, late);
    const answered =
      headers[':path'] === pullImage ? this.#pull(call, rawHeaders) : relay(call, rawHeaders, { runtime });
    answered.catch((error: unknown) => this.#giveUp(call, error));
  }

  async #pull(call: ClientCall, rawHeaders: RawHeaders): Promise<void> {
    const startedAt = this.#parts.clock.now();
    const message = await readRequest(call);
    if (message === undefined) return;
    const unchanged = frameAsItCame(message);
    const pull = await readPull(message, rawHeaders);
    if (typeof pull === 'string') {
      this.#unread.add();
      this.#parts.log.warn({ reason: pull }, 'a PullImage cannot be read; it is relayed as it is');
      await relay(call, rawHeaders, { runtime: this.#parts.runtime, body: unchanged });
      return;
    }
    const shown: Credential[] = [];
    const attempt: PullAttempt<WholeAnswer> = async ({ credential, signal }) => {
      if (credential) shown.push(credential);
      return this.#ask(
        this.#headersAt(startedAt, call, rawHeaders),
        credential === undefined ? unchanged : withCredential(pull, credential),
        { image: pull.request.image?.image ?? '', signal },
      );
    };
    const result = await this.#lookAfter(call, pull, attempt);
    if (result !== undefined) giveAnswer(call, toldAnswer(result, shown));
    else if (!call.signal.aborted) {
      await relay(call, rawHeaders, { runtime: this.#parts.runtime, body: unchanged });
    }
  }

  /** @returns undefined where nobody waits any more; or where it failed by a fault of ours, which is no reason to leave a node without an image */
  async #lookAfter(
    { signal }: ClientCall,
    { request }: ReadPull,
    attempt: PullAttempt<WholeAnswer>,
  ): Promise<PullResult<WholeAnswer> | undefined> {
    try {
      return await this.#parts.pulls.pull(askedPull(request), attempt, { signal });
    } catch (error) {
      if (signal.aborted) return undefined;
      const fields = { reason: describeError(error) };
      this.#parts.log.error(fields, 'a pull could not be looked after; it is relayed as it is');
      return undefined;
    }
  }

  async #ask(
    headers: OutgoingHttpHeaders,
    body: Uint8Array,
    { image, signal }: { readonly image: string; readonly signal: AbortSignal },
  ): Promise<PullOutcome<WholeAnswer>> {
    const answer = await askWhole(this.#parts.runtime, headers, body, signal);
    const status = statusOf(answer);
    if (status === grpcStatus.OK) {
      return { ok: true, answer, imageRef: await readImageRef(answer.body, answer.headers) };
    }
    const said = saidIn(answer);
    return { ok: false, answer, fault: faultOf(status, said, image), status, said };
  }

  /** As the client sent them, with what is left of its time: it may have been spent on waiting for a credential. */
  #headersAt(startedAt: number, { timeout }: ClientCall, rawHeaders: RawHeaders): OutgoingHttpHeaders {
    const headers = readRequestHeaders(rawHeaders);
    if (timeout === undefined) return headers;
    const spent = Math.max(this.#parts.clock.now() - startedAt, 0);
    return spent === 0 ? headers : { ...headers, 'grpc-timeout': printTimeout(Math.max(timeout - spent, 1)) };
  }

  #giveUp(call: ClientCall, error: unknown): void {
    this.#parts.log.error({ reason: describeError(error) }, 'a call failed');
    call.fail(grpcStatus.INTERNAL, 'kubelet-image-service failed; its log says why');
  }
}

/** What kubelet gets: of a failure, without what was shown, and with what we know of it. */
function toldAnswer({ outcome, advice }: PullResult<WholeAnswer>, shown: readonly Credential[]): WholeAnswer {
  if (outcome.ok) return outcome.answer;
  const answer = withoutShown(outcome.answer, shown);
  return advice === undefined ? answer : appendAdvice(answer, advice);
}

/** @returns undefined where it could not be read; the client is told then */
async function readRequest(call: ClientCall): Promise<GrpcMessage | undefined> {
  try {
    return await readMessage(call.stream, { signal: call.signal });
  } catch (error) {
    const status = error instanceof CallFailure ? error.status : grpcStatus.INTERNAL;
    call.fail(status, `the request cannot be read: ${describeError(error)}`);
    return undefined;
  }
}

function frameAsItCame({ bytes, isCompressed }: GrpcMessage): Buffer {
  const framed = frame(bytes);
  framed.writeUInt8(isCompressed ? 1 : 0, 0);
  return framed;
}

/** Uncompressed, which any message may be (gRPC over HTTP/2, "Compressed-Flag"). */
function withCredential({ bytes, request }: ReadPull, credential: Credential): Buffer {
  const { registry } = parseImageReference(request.image?.image ?? '').repository;
  return frame(appendAuth(bytes, authConfigOf(credential, registry)));
}

/** What the runtime says, on one line. */
function saidIn({ headers, trailers }: WholeAnswer): string {
  const last = trailers ?? headers;
  if (firstValue(last, 'grpc-status') === undefined) {
    return `HTTP status ${firstValue(headers, ':status')} without a gRPC status`;
  }
  const said = decodeStatusMessage(firstValue(last, 'grpc-message') ?? '');
  return said.replace(/\s*[\r\n\u2028\u2029]+\s*/g, ' ').trim();
}
