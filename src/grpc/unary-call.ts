import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect as connectHttp2,
  type IncomingHttpHeaders,
} from 'node:http2';
import { connect } from 'node:net';
import { describeError } from '../errors.js';
import { grpcStatus } from '../protocol/grpc-status.js';
import { CallFailure } from './call-failure.js';
import { frame, type GrpcMessage, readMessage } from './frames.js';
import { imageServicePath } from './image-service-path.js';
import { decodeStatusMessage, printTimeout } from './status.js';

/** A call that got no status. One line: what happened, at which endpoint. */
export class UnaryCallError extends Error {
  override readonly name = 'UnaryCallError';
}

export interface UnaryCall {
  /** Of the unix socket. */
  readonly path: string;
  /** Of `runtime.v1.ImageService`: `ImageFsInfo`. */
  readonly method: string;
  /** The encoded message; at most 16 MiB. */
  readonly request: Uint8Array;
  /** Milliseconds for all of it: connecting, asking, reading. */
  readonly timeout: number;
  readonly signal?: AbortSignal;
}

export interface UnaryAnswer {
  /** gRPC status. */
  readonly status: number;
  /** Of the status; empty where there is none. */
  readonly message: string;
  /** The encoded message; empty where the status is not OK. */
  readonly bytes: Buffer;
}

/** Node's defaults reset the stream when a message of 16 MiB waits. */
const sessionOptions = { maxSessionMemory: 128, settings: { initialWindowSize: 1024 * 1024 } } as const;

/**
 * Asks an image service once, over a connection of its own.
 *
 * @throws UnaryCallError; the signal's reason
 */
export async function callUnary(call: UnaryCall): Promise<UnaryAnswer> {
  call.signal?.throwIfAborted();
  const endpoint = `unix://${call.path}`;
  const over = new AbortController();
  const late = new UnaryCallError(`${endpoint} did not answer within ${call.timeout / 1_000}s`);
  const timer = setTimeout(() => over.abort(late), call.timeout);
  const stop = () => over.abort(call.signal?.reason);
  call.signal?.addEventListener('abort', stop);
  const session = connectHttp2('http://localhost', {
    ...sessionOptions,
    createConnection: () => connect(call.path),
  });
  const failure = new Promise<never>((_, reject) => {
    over.signal.addEventListener('abort', () => reject(over.signal.reason));
    session.on('error', (error: NodeJS.ErrnoException) => reject(asCallError(endpoint, error)));
  });
  try {
    return await Promise.race([ask(session, call, endpoint), failure]);
  } finally {
    clearTimeout(timer);
    call.signal?.removeEventListener('abort', stop);
    session.destroy();
  }
}

async function ask(
  session: ClientHttp2Session,
  { method, request, timeout }: UnaryCall,
  endpoint: string,
): Promise<UnaryAnswer> {
  const stream = session.request({
    ':method': 'POST',
    ':path': imageServicePath + method,
    'content-type': 'application/grpc',
    te: 'trailers',
    'grpc-timeout': printTimeout(timeout),
  });
  let trailers: IncomingHttpHeaders = {};
  stream.on('trailers', (received) => {
    trailers = received;
  });
  stream.end(frame(request));
  const headers = await headersOf(stream, session, endpoint);
  if (headers[':status'] !== 200) {
    throw new UnaryCallError(`${endpoint} is no image service: it answers HTTP ${headers[':status']}`);
  }
  const message = await readMessage(stream).catch((error: unknown) => asMessageError(endpoint, error));
  const status = headers['grpc-status'] ?? trailers['grpc-status'];
  if (status === undefined) {
    throw message instanceof UnaryCallError ? message : new UnaryCallError(`${endpoint} gave no gRPC status`);
  }
  const text = headers['grpc-message'] ?? trailers['grpc-message'] ?? '';
  return answerOf(Number(status), decodeStatusMessage(String(text)), message);
}

/** @throws UnaryCallError where the connection ends before */
function headersOf(
  stream: ClientHttp2Stream,
  session: ClientHttp2Session,
  endpoint: string,
): Promise<IncomingHttpHeaders & { ':status'?: number }> {
  return new Promise((resolve, reject) => {
    stream.once('response', resolve);
    // The session's own error says more, and may come right after.
    const fail = (error: UnaryCallError) => setImmediate(() => reject(error));
    stream.on('error', (error) => fail(asCallError(endpoint, error)));
    session.once('close', () => fail(new UnaryCallError(`${endpoint} closed the connection`)));
    stream.once('close', () => fail(new UnaryCallError(`${endpoint} closed the call without an answer`)));
  });
}

function answerOf(status: number, message: string, read: GrpcMessage | UnaryCallError): UnaryAnswer {
  if (status !== grpcStatus.OK) return { status, message, bytes: Buffer.alloc(0) };
  if (read instanceof UnaryCallError) throw read;
  return { status, message, bytes: read.bytes };
}

function asMessageError(endpoint: string, error: unknown): UnaryCallError {
  const what = error instanceof CallFailure ? error.message : describeError(error);
  return new UnaryCallError(`${endpoint} did not answer well: ${what}`);
}

function asCallError(endpoint: string, error: NodeJS.ErrnoException): UnaryCallError {
  switch (error.code) {
    case 'ENOENT':
      return new UnaryCallError(`there is no socket at ${endpoint}`, { cause: error });
    case 'ECONNREFUSED':
      return new UnaryCallError(`nobody listens at ${endpoint}`, { cause: error });
    case 'EACCES':
    case 'EPERM':
      return new UnaryCallError(`this user may not connect to ${endpoint}`);
    case 'ERR_HTTP2_ERROR':
      return new UnaryCallError(`${endpoint} does not speak gRPC: ${error.message}`);
    case 'ERR_HTTP2_STREAM_ERROR':
      return new UnaryCallError(`${endpoint} broke the call off: ${error.message}`);
    default:
      return new UnaryCallError(`${endpoint} cannot be asked: ${describeError(error)}`);
  }
}
