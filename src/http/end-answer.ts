import type { IncomingMessage, ServerResponse } from 'node:http';

/** What is read away of a body nobody wants: bytes, milliseconds in all, and milliseconds without a byte. */
const maxUnwanted = 32 * 1024 * 1024;
const unwantedTime = 5_000;
const unwantedIdle = 1_000;

/** True where the request has a body that was not received whole. */
export function hasUnreadBody(request: IncomingMessage): boolean {
  return hasBody(request) && !request.complete;
}

export function hasBody(request: IncomingMessage): boolean {
  return (
    request.headers['transfer-encoding'] !== undefined || Number(request.headers['content-length'] ?? 0) > 0
  );
}

/** A body nobody has read must not be read to its end only to keep the connection. */
export function closeUnlessRead(request: IncomingMessage): { connection?: 'close' } {
  return hasUnreadBody(request) ? { connection: 'close' } : {};
}

/**
 * Ends an answer whose head was written. While the client still sends a body that is not wanted, some of it is read
 * away: a connection that is closed with unread bytes is reset, and the reset can overtake the answer (RFC 9112 section
 * 9.6).
 *
 * @param waits the client holds its body back until it is asked for it (`Expect: 100-continue`), and it was not
 */
export async function endAnswer(
  response: ServerResponse,
  body: Buffer | undefined,
  waits: boolean,
): Promise<void> {
  const request = response.req;
  if (waits || !hasUnreadBody(request)) {
    response.end(body);
    return;
  }
  if (body !== undefined) response.write(body);
  else response.flushHeaders();
  await readAway(request);
  response.end();
}

function readAway(request: IncomingMessage): Promise<void> {
  return new Promise((resolve) => {
    let size = 0;
    const done = () => {
      clearTimeout(timer);
      clearTimeout(idle);
      request.off('data', onData).off('end', done).off('close', done).pause();
      resolve();
    };
    const onData = (chunk: Buffer) => {
      size += chunk.length;
      idle.refresh();
      if (size > maxUnwanted) done();
    };
    const timer = setTimeout(done, unwantedTime);
    const idle = setTimeout(done, unwantedIdle);
    request.on('error', done).on('data', onData).on('end', done).on('close', done);
    if (request.destroyed) done();
    else request.resume();
  });
}
