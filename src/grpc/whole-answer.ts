import { type ClientHttp2Stream, constants, type OutgoingHttpHeaders } from 'node:http2';
import type { CriRuntime } from '../contracts/runtime.js';
import { grpcStatus } from '../protocol/grpc-status.js';
import type { ClientCall } from './client-call.js';
import { GrowingBytes } from './growing-bytes.js';
import { firstValue, type RawHeaders } from './raw-headers.js';
import { type CallFault, faultOfBegin, faultOfStream } from './runtime-faults.js';
import { encodeStatusMessage } from './status.js';
import { watchAnswer } from './watch-answer.js';

/** Bytes of an answer to a pull: it names one image. */
const maxAnswer = 1024 * 1024;

/** An answer as it came, or one of ours in its place. */
export interface WholeAnswer {
  readonly headers: RawHeaders;
  readonly body: Buffer;
  /** Absent: the headers were all. Empty: the answer ended without any. */
  readonly trailers?: RawHeaders;
}

/**
 * Sends a unary call and takes in its whole answer; one without an answer gets a status of ours. A call that the runtime
 * has refused unseen is sent once more.
 *
 * @throws the signal's reason
 */
export async function askWhole(
  runtime: CriRuntime,
  headers: OutgoingHttpHeaders,
  body: Uint8Array,
  signal: AbortSignal,
): Promise<WholeAnswer> {
  const first = await askOnce(runtime, headers, body, signal);
  if (!('status' in first)) return first;
  if (!first.isUnseen) return answerOf(first);
  const second = await askOnce(runtime, headers, body, signal);
  return 'status' in second ? answerOf(second) : second;
}

/** Hands an answer on as it is. */
export function giveAnswer(call: ClientCall, { headers, body, trailers }: WholeAnswer): void {
  if (trailers === undefined) {
    call.answerWithHeaders(headers);
    return;
  }
  call.begin(headers);
  if (!call.isAnswered && body.length > 0) call.stream.write(body);
  call.end(trailers);
}

/**
 * The `grpc-status` of an answer; of one that has none, what its HTTP status stands for:
 * https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md
 */
export function statusOf({ headers, trailers }: WholeAnswer): number {
  const text = firstValue(trailers ?? headers, 'grpc-status');
  if (text !== undefined) return /^\d{1,4}$/.test(text) ? Number(text) : grpcStatus.UNKNOWN;
  return statusOfHttp.get(Number(firstValue(headers, ':status'))) ?? grpcStatus.UNKNOWN;
}

const statusOfHttp: ReadonlyMap<number, number> = new Map([
  [400, grpcStatus.INTERNAL],
  [401, grpcStatus.UNAUTHENTICATED],
  [403, grpcStatus.PERMISSION_DENIED],
  [404, grpcStatus.UNIMPLEMENTED],
  [429, grpcStatus.UNAVAILABLE],
  [502, grpcStatus.UNAVAILABLE],
  [503, grpcStatus.UNAVAILABLE],
  [504, grpcStatus.UNAVAILABLE],
]);

function answerOf({ status, message }: CallFault): WholeAnswer {
  const headers = [
    ':status',
    '200',
    'content-type',
    'application/grpc',
    'grpc-status',
    String(status),
    'grpc-message',
    encodeStatusMessage(message),
  ];
  return { headers, body: Buffer.alloc(0) };
}

async function askOnce(
  runtime: CriRuntime,
  headers: OutgoingHttpHeaders,
  body: Uint8Array,
  signal: AbortSignal,
): Promise<WholeAnswer | CallFault> {
  let stream: ClientHttp2Stream;
  try {
    stream = await runtime.begin(headers, { signal });
  } catch (error) {
    signal.throwIfAborted();
    return faultOfBegin(error);
  }
  const cancel = () => stream.close(constants.NGHTTP2_CANCEL);
  signal.addEventListener('abort', cancel, { once: true });
  try {
    const answer = collect(stream, runtime);
    stream.end(body);
    return await answer;
  } finally {
    signal.removeEventListener('abort', cancel);
    signal.throwIfAborted();
  }
}

function collect(stream: ClientHttp2Stream, runtime: CriRuntime): Promise<WholeAnswer | CallFault> {
  return new Promise((resolve) => {
    let headers: RawHeaders = [];
    const body = new GrowingBytes();
    watchAnswer(stream, {
      onHeaders: (raw, isAll) => {
        headers = raw;
        if (isAll) resolve({ headers, body: Buffer.alloc(0) });
      },
      onEnd: (trailers) => resolve({ headers, body: body.bytes, trailers }),
      onFault: (isSessionLost) => resolve(faultOfStream(stream, isSessionLost, runtime)),
    });
    stream.on('data', (chunk: Buffer) => {
      body.add(chunk);
      if (body.bytes.length <= maxAnswer) return;
      resolve({
        status: grpcStatus.RESOURCE_EXHAUSTED,
        message: `the container runtime at ${runtime.endpoint} answered a pull with more than 1 MiB`,
      });
      stream.close(constants.NGHTTP2_CANCEL);
    });
  });
}
