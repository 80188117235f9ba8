import { once } from 'node:events';
import { connect as connectHttp2, constants, type IncomingHttpHeaders } from 'node:http2';
import { connect } from 'node:net';

/** What came back, with nothing looked into. */
export interface RawAnswer {
  readonly httpStatus: number;
  /** Of gRPC; -1 where none came. */
  readonly status: number;
  /** Decoded. */
  readonly message: string;
  /** The bodies of all messages, with their five bytes before each. */
  readonly bytes: Buffer;
  readonly headers: IncomingHttpHeaders;
  readonly trailers: IncomingHttpHeaders;
}

/**
 * One gRPC call by bare HTTP/2. It keeps no deadline itself: `timeout` is only told, as `grpc-timeout` has it (`1m` is a
 * millisecond).
 *
 * @param path `/runtime.v1.ImageService/PullImage`
 */
export async function rawCall(
  socket: string,
  path: string,
  message: Uint8Array,
  { timeout, headers = {} }: { readonly timeout?: string; readonly headers?: Record<string, string> } = {},
): Promise<RawAnswer> {
  const session = connectHttp2('http://localhost', { createConnection: () => connect(socket) });
  const failed = once(session, 'error').then(([error]) => Promise.reject(error as Error));
  const timer = setTimeout(() => session.destroy(new Error(`no answer to ${path} within 30 s`)), 30_000);
  const answered = ask();
  try {
    return await Promise.race([answered, failed]);
  } finally {
    clearTimeout(timer);
    failed.catch(() => undefined);
    answered.catch(() => undefined);
    session.destroy();
  }

  async function ask(): Promise<RawAnswer> {
    const stream = session.request({
      [constants.HTTP2_HEADER_METHOD]: 'POST',
      [constants.HTTP2_HEADER_PATH]: path,
      'content-type': 'application/grpc',
      te: 'trailers',
      ...(timeout !== undefined && { 'grpc-timeout': timeout }),
      ...headers,
    });
    stream.end(framed(message));
    let trailers: IncomingHttpHeaders = {};
    stream.on('trailers', (received: IncomingHttpHeaders) => {
      trailers = received;
    });
    const [first] = (await once(stream, 'response')) as [IncomingHttpHeaders & { ':status'?: number }];
    const pieces: Buffer[] = [];
    for await (const piece of stream) pieces.push(piece as Buffer);
    const last = 'grpc-status' in trailers ? trailers : first;
    return {
      httpStatus: first[':status'] ?? 0,
      status: Number(last['grpc-status'] ?? -1),
      message: decodeURIComponent(String(last['grpc-message'] ?? '')),
      bytes: Buffer.concat(pieces),
      headers: first,
      trailers,
    };
  }
}

/** Length-prefixed, not compressed. */
function framed(message: Uint8Array): Buffer {
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(message.length, 1);
  return Buffer.concat([prefix, message]);
}
