import { type ClientHttp2Stream, constants } from 'node:http2';
import { type CriRuntime, RuntimeError } from '../contracts/runtime.js';
import { describeError } from '../errors.js';
import { grpcStatus } from '../protocol/grpc-status.js';

/** A gRPC status of ours, for a call the runtime gave none for. The message is one line, without a secret. */
export interface CallFault {
  readonly status: number;
  readonly message: string;
  /** The runtime has not begun with the call: it may be sent again. */
  readonly isUnseen?: boolean;
}

/** gRPC over HTTP/2, "Errors". Any other code is INTERNAL, as grpc-go has it. */
const statusOfReset: ReadonlyMap<number, number> = new Map([
  [constants.NGHTTP2_REFUSED_STREAM, grpcStatus.UNAVAILABLE],
  [constants.NGHTTP2_CANCEL, grpcStatus.CANCELLED],
  [constants.NGHTTP2_FLOW_CONTROL_ERROR, grpcStatus.RESOURCE_EXHAUSTED],
  [constants.NGHTTP2_ENHANCE_YOUR_CALM, grpcStatus.RESOURCE_EXHAUSTED],
  [constants.NGHTTP2_INADEQUATE_SECURITY, grpcStatus.PERMISSION_DENIED],
]);

/** RFC 9113 section 7; the code is the place. */
const resetNames = [
  'NO_ERROR',
  'PROTOCOL_ERROR',
  'INTERNAL_ERROR',
  'FLOW_CONTROL_ERROR',
  'SETTINGS_TIMEOUT',
  'STREAM_CLOSED',
  'FRAME_SIZE_ERROR',
  'REFUSED_STREAM',
  'CANCEL',
  'COMPRESSION_ERROR',
  'CONNECT_ERROR',
  'ENHANCE_YOUR_CALM',
  'INADEQUATE_SECURITY',
  'HTTP_1_1_REQUIRED',
];

/**
 * Why a call has no answer, to be asked when its stream is closed.
 *
 * @param isSessionLost the session has ended too: Node then says CANCEL, or nothing, of each of its streams
 */
export function faultOfStream(
  stream: ClientHttp2Stream,
  isSessionLost: boolean,
  runtime: CriRuntime,
): CallFault {
  const code = stream.rstCode;
  if (isSessionLost && code !== constants.NGHTTP2_REFUSED_STREAM) {
    return {
      status: grpcStatus.UNAVAILABLE,
      message: `the connection to the container runtime at ${runtime.endpoint} was lost before it answered`,
    };
  }
  if (code === constants.NGHTTP2_NO_ERROR) {
    return {
      status: grpcStatus.INTERNAL,
      message: `the container runtime at ${runtime.endpoint} ended a call without an answer`,
    };
  }
  return {
    status: statusOfReset.get(code) ?? grpcStatus.INTERNAL,
    message: `the container runtime at ${runtime.endpoint} reset a call: ${resetNames[code] ?? code}`,
    ...(code === constants.NGHTTP2_REFUSED_STREAM && { isUnseen: true }),
  };
}

/** What `CriRuntime.begin` throws. */
export function faultOfBegin(error: unknown): CallFault {
  const isKnown = error instanceof RuntimeError;
  return {
    status: isKnown && error.fault === 'unavailable' ? grpcStatus.UNAVAILABLE : grpcStatus.INTERNAL,
    message: describeError(error),
  };
}
