import type { ServerResponse } from 'node:http';
import type { Readable } from 'node:stream';
import { WholeBody } from '../protocol/byte-budget.js';
import { PulledBody } from '../protocol/pulled-body.js';
import { whyGone } from './client-gone.js';

/** What came of a body. */
interface SentBody {
  /** Bytes handed to the connection. */
  readonly sent: number;
  /** Where it did not go well. */
  readonly error?: unknown;
}

/**
 * Sends a body as fast as the client takes it. When the body fails or ends short of its length, the client's
 * connection is cut, so that a truncated blob never looks complete (threat 11); when the client goes, the body is
 * destroyed, which releases the upstream's connection.
 *
 * `stream.pipeline` is not used: on Node 24 it throws where the client has gone already.
 *
 * @param length bytes, where known
 */
export function sendBody(
  body: Readable,
  response: ServerResponse,
  length: number | undefined,
): Promise<SentBody> {
  if (body instanceof WholeBody && !body.destroyed) return sendWhole(body, response, length);
  return body instanceof PulledBody ? sendPulled(body, response, length) : sendStream(body, response, length);
}

/** Head and body leave in one piece. */
function sendWhole(
  { bytes }: WholeBody,
  response: ServerResponse,
  length: number | undefined,
): Promise<SentBody> {
  return new Promise((resolve) => {
    const sent = bytes.length;
    if (length !== undefined && length !== sent) {
      cutAnswer(response, length);
      resolve({ sent: 0, error: new Error('the body is not as long as its length') });
      return;
    }
    const onClose = () => {
      resolve(response.writableFinished ? { sent } : { sent, error: whyGone(response) });
    };
    if (response.destroyed) return onClose();
    response.once('close', onClose);
    response.end(bytes, () => {
      response.off('close', onClose);
      resolve({ sent });
    });
  });
}

function sendStream(body: Readable, response: ServerResponse, length: number | undefined): Promise<SentBody> {
  return new Promise((resolve) => {
    let sent = 0;
    const done = (error?: unknown) => {
      body.off('data', onData);
      response.off('drain', onDrain);
      resolve(error === undefined ? { sent } : { sent, error });
    };
    const cut = (error: unknown) => {
      body.destroy();
      cutAnswer(response, length);
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

/** Each piece has left before the next one is asked for, as it will stand in the same buffer: nothing is copied here. */
async function sendPulled(
  body: PulledBody,
  response: ServerResponse,
  length: number | undefined,
): Promise<SentBody> {
  body.on('error', () => {}); // `pull` tells of it
  const client = new WaitingFor(response);
  let sent = 0;
  try {
    for (;;) {
      const piece = await client.until(body.pull());
      if (piece === undefined) break;
      sent += piece.length;
      if (length !== undefined && sent > length) throw new Error('the body is longer than its length');
      await client.until(written(response, piece));
    }
    if (length !== undefined && sent < length) throw new Error('the body is shorter than its length');
    await client.until(new Promise<void>((resolve) => response.end(resolve)));
    return { sent };
  } catch (error) {
    cutAnswer(response, length);
    return { sent, error };
  } finally {
    client.end();
    body.destroy();
  }
}

/** Waits for one thing after the other, and for none of them longer than the client is there. */
class WaitingFor {
  readonly #response: ServerResponse;
  #reject: ((reason: unknown) => void) | undefined;

  constructor(response: ServerResponse) {
    this.#response = response;
    response.once('close', this.#onClose);
  }

  until<T>(step: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#reject = reject;
      step.then(resolve, reject);
      if (this.#response.destroyed) this.#onClose();
    });
  }

  end(): void {
    this.#response.off('close', this.#onClose);
  }

  readonly #onClose = () => {
    if (!this.#response.writableFinished) this.#reject?.(whyGone(this.#response));
  };
}

function written(response: ServerResponse, piece: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    response.write(piece, (error) => (error ? reject(whyGone(response)) : resolve()));
  });
}

/**
 * HTTP/1.0 knows no chunks: without a length the end of the connection is the end of the body (RFC 9112 section 6.3),
 * and only a reset tells that it came too early. With TLS the missing close_notify does.
 */
function cutAnswer(response: ServerResponse, length: number | undefined): void {
  const { socket } = response;
  if (
    length === undefined &&
    response.req.httpVersion === '1.0' &&
    socket !== null &&
    !('encrypted' in socket)
  ) {
    socket.resetAndDestroy();
  }
  response.destroy();
}
