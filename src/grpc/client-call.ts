import { constants, type ServerHttp2Stream, type ServerStreamResponseOptions } from 'node:http2';
import { grpcStatus } from '../protocol/grpc-status.js';
import { firstValue, type RawHeaders, sentOn } from './raw-headers.js';
import { encodeStatusMessage, endWithStatus, parseTimeout } from './status.js';

/** Milliseconds that a client has to end its request after it was answered. */
const restTimeout = 1_000;

/** Node's types do not know `sendDate`: a date of ours is not what the runtime said. */
const withTrailers: ServerStreamResponseOptions = { waitForTrailers: true, ...{ sendDate: false } };
const headersAlone: ServerStreamResponseOptions = { endStream: true, ...{ sendDate: false } };

/** Nobody waits for the answer any more: the client has gone, or its time is over. */
export class CallOver extends Error {
  override readonly name = 'CallOver';
}

/**
 * A client's call, to be answered once: with headers alone, with headers, data and trailers, or with a status of ours.
 * What comes too late is dropped.
 */
export class ClientCall {
  readonly stream: ServerHttp2Stream;
  /** Milliseconds, as the client says in `grpc-timeout`. */
  readonly timeout: number | undefined;
  readonly #over = new AbortController();
  readonly #timer: NodeJS.Timeout | undefined;
  #trailers: RawHeaders = [];
  #isAnswered = false;

  /** @param late what the client is told where its time is over before it was answered; one line */
  constructor(stream: ServerHttp2Stream, rawHeaders: RawHeaders, late: string) {
    this.stream = stream;
    this.timeout = parseTimeout(firstValue(rawHeaders, 'grpc-timeout'));
    // The client may expire later than it said, or not at all.
    if (this.timeout !== undefined) {
      this.#timer = setTimeout(() => this.#expire(late), Math.ceil(this.timeout));
    }
    stream.on('error', () => {});
    stream.on('wantTrailers', () => this.#sendTrailers());
    stream.once('finish', () => this.#leaveTheRest());
    stream.once('close', () =>
      this.#finish(this.#isCut ? 'kubelet-image-service was stopped' : 'the client has gone'),
    );
    if (stream.destroyed) this.#finish('the client has gone');
  }

  /** Aborted with a `CallOver` when nobody waits for the answer any more, at the latest when the stream is closed. */
  get signal(): AbortSignal {
    return this.#over.signal;
  }

  get isAnswered(): boolean {
    return this.#isAnswered || this.stream.destroyed || this.stream.closed;
  }

  /** The answer begins; its data are written to `stream`, and `end` comes after them. */
  begin(headers: RawHeaders): void {
    if (this.isAnswered || this.stream.headersSent) return;
    this.#respond(headers, withTrailers);
  }

  /** Ends what `begin` began. @param trailers empty: the stream ends without any */
  end(trailers: RawHeaders): void {
    if (this.isAnswered) return;
    this.#isAnswered = true;
    this.#trailers = trailers;
    this.stream.end();
  }

  /** Headers are the whole answer: `Trailers-Only` (gRPC over HTTP/2, "Responses"). */
  answerWithHeaders(headers: RawHeaders): void {
    if (this.isAnswered || this.stream.headersSent) return;
    if (this.#respond(headers, headersAlone)) this.#isAnswered = true;
  }

  /** @param message for people: one line, no secret */
  fail(code: number, message: string): void {
    if (this.isAnswered) return;
    if (this.stream.headersSent) {
      this.end(['grpc-status', String(code), 'grpc-message', encodeStatusMessage(message)]);
      return;
    }
    this.#isAnswered = true;
    endWithStatus(this.stream, code, message);
  }

  /** @returns false where Node does not send such headers; the client is told so then */
  #respond(raw: RawHeaders, options: ServerStreamResponseOptions): boolean {
    const headers = responseHeaders(raw);
    try {
      this.stream.respond(headers, options);
      return true;
    } catch (error) {
      // HTTP/2 lets a runtime say `:status: 700`, and this is an event: what is thrown here would end the process.
      const { code } = error as NodeJS.ErrnoException;
      const status = `with HTTP status ${headers[':status']}`;
      this.fail(
        grpcStatus.UNKNOWN,
        `the container runtime answers ${status}, which cannot be passed on (${code})`,
      );
      return false;
    }
  }

  #expire(late: string): void {
    this.fail(grpcStatus.DEADLINE_EXCEEDED, late);
    this.#finish('its time is over');
  }

  /** Somebody else has ended it with a status: the server, as it stops. */
  get #isCut(): boolean {
    // Absent before anything was sent, whatever the type says.
    const headers: Readonly<Record<string, unknown>> | undefined = this.stream.sentHeaders;
    return !this.#isAnswered && headers?.['grpc-status'] !== undefined;
  }

  #finish(why: string): void {
    clearTimeout(this.#timer);
    if (!this.#over.signal.aborted) this.#over.abort(new CallOver(why));
  }

  #sendTrailers(): void {
    if (this.stream.destroyed || this.stream.closed) return;
    try {
      this.stream.sendTrailers(sentOn(this.#trailers));
    } catch {
      this.stream.close(constants.NGHTTP2_INTERNAL_ERROR);
    }
  }

  /** With its answer a client need not send what is left of its request, and may not know (RFC 9113 section 8.1). */
  #leaveTheRest(): void {
    const { stream } = this;
    if (stream.readableEnded || stream.destroyed) return;
    stream.unpipe();
    stream.resume();
    const timer = setTimeout(() => stream.close(constants.NGHTTP2_NO_ERROR), restTimeout);
    stream.once('close', () => clearTimeout(timer));
  }
}

function responseHeaders(raw: RawHeaders) {
  return { ...sentOn(raw), ':status': Number(firstValue(raw, ':status') ?? 200) };
}
