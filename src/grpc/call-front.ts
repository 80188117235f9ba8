import type { IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2';

/**
 * Answers the calls of `runtime.v1.ImageService`, methods we do not know included.
 *
 * The server has looked at path and content type, listens to the stream's errors, and counts the call by the
 * `grpc-status` that was sent, in headers or trailers: a front reports nothing. It ends each stream that it is given,
 * with a status or, where the client has gone, not at all.
 */
export interface CallFront {
  /**
   * Never throws.
   *
   * @param rawHeaders names and values in turn, as they came: repeated keys keep their order
   */
  handle(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, rawHeaders: readonly string[]): void;
}
