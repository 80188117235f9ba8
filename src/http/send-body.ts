import type { ServerResponse } from 'node:http';
import type { Readable } from 'node:stream';
import { whyGone } from './client-gone.js';

/**
 * Sends a body as fast as the client takes it. When the body fails or ends short of its length, the client's
 * connection is cut, so that a truncated blob never looks complete (threat 11); when the client goes, the body is
 * destroyed, which releases the upstream's connection.
 *
 * `stream.pipeline` is not used: on Node 24 it throws where the client has gone already.
 *
 * @param length bytes, where known
 * @returns bytes handed to the connection, and whether all went well
 */
export function sendBody(
  body: Readable,
  response: ServerResponse,
  length: number | undefined,
): Promise<{ sent: number; error?: unknown }> {
  return new Promise((resolve) => {
    let sent = 0;
    const done = (error?: unknown) => {
      body.off('data', onData);
      response.off('drain', onDrain);
      resolve(error === undefined ? { sent } : { sent, error });
    };
    const cut = (error: unknown) => {
      body.destroy();
      if (length === undefined && response.req.httpVersion === '1.0') resetConnection(response);
      response.destroy();
      done(error);
    };
    const onDrain = () => body.resume();
    const onData = (chunk: Buffer) => {
      sent += chunk.length;
      if (length !== undefined && sent > length) cut(new Error('the body is longer than its length'));
      else if (!response.write(chunk)) body.pause();
    };
    body.on('data', onData);
    response.on('drain', onDrain);
    body.once('error', cut);
    body.once('end', () => {
      if (length !== undefined && sent < length) return cut(new Error('the body is shorter than its length'));
      response.end();
    });
    body.once('close', () => {
      if (!body.readableEnded) cut(new Error('the body was cut short'));
    });
    response.once('finish', () => done());
    response.once('close', () => {
      body.destroy();
      done(response.writableFinished ? undefined : whyGone(response));
    });
    if (response.destroyed) cut(whyGone(response));
    // It may have failed before anybody listened.
    else if (body.destroyed) cut(body.errored ?? new Error('the body was cut short'));
  });
}

/**
 * HTTP/1.0 knows no chunks: without a length the end of the connection is the end of the body (RFC 9112 section 6.3),
 * and only a reset tells that it came too early. With TLS the missing close_notify does.
 */
function resetConnection({ socket }: ServerResponse): void {
  if (socket !== null && !('encrypted' in socket)) socket.resetAndDestroy();
}
