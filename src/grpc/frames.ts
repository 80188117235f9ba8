import type { Readable } from 'node:stream';
import { grpcStatus } from '../protocol/grpc-status.js';
import { CallFailure } from './call-failure.js';

/** Bytes of a message, as kubelet's client and the runtimes bound it. */
export const maxMessageSize = 16 * 1024 * 1024;
/** A flag and a length (gRPC over HTTP/2, "Length-Prefixed-Message"). */
export const framePrefix = 5;

export interface GrpcMessage {
  readonly bytes: Buffer;
  /** With the `grpc-encoding` of the headers. */
  readonly isCompressed: boolean;
}

export interface ReadMessageOptions {
  readonly signal?: AbortSignal;
  /** Bytes of the message, without its prefix. Default: 16 MiB. */
  readonly maxSize?: number;
}

/**
 * Reads the one message of a unary request or answer, and on to its end. Where it fails, what is still to come is thrown
 * away; ending the stream is left to the caller.
 *
 * @throws CallFailure RESOURCE_EXHAUSTED where it is larger, INTERNAL where it is missing, cut short, or one of
 * several, CANCELLED where the stream was closed before its end; the stream's error; the signal's reason
 */
export function readMessage(stream: Readable, o: ReadMessageOptions = {}): Promise<GrpcMessage> {
  const { signal } = o;
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    // Its events are over, and none will come.
    if (stream.destroyed || stream.readableEnded) return reject(closedEarly());
    const message = new UnaryMessage(o.maxSize ?? maxMessageSize);
    const leave = () => {
      stream.off('data', take).off('end', end).off('error', fail).off('close', close);
      signal?.removeEventListener('abort', abort);
    };
    const fail = (error: unknown) => {
      leave(); // the stream goes on flowing
      reject(error);
    };
    const take = (piece: Buffer) => {
      const fault = message.add(piece);
      if (fault) fail(fault);
    };
    const end = () => {
      const whole = message.end();
      if (whole instanceof CallFailure) return fail(whole);
      leave();
      resolve(whole);
    };
    const close = () => fail(closedEarly());
    const abort = () => fail(signal?.reason);
    signal?.addEventListener('abort', abort);
    stream.on('data', take).on('end', end).on('error', fail).on('close', close);
  });
}

/** A message with its prefix, uncompressed. */
export function frame(bytes: Uint8Array): Buffer {
  const framed = Buffer.allocUnsafe(framePrefix + bytes.length);
  framed.writeUInt8(0, 0);
  framed.writeUInt32BE(bytes.length, 1);
  framed.set(bytes, framePrefix);
  return framed;
}

function closedEarly(): CallFailure {
  return new CallFailure(grpcStatus.CANCELLED, 'the call was closed before its message was whole');
}

/** Collects the pieces of one message, however they are cut. */
class UnaryMessage {
  readonly #maxSize: number;
  readonly #pieces: Buffer[] = [];
  #received = 0;
  /** Of the prefix and the message together, as soon as the prefix is there. */
  #expected: number | undefined;
  #flag = 0;

  constructor(maxSize: number) {
    this.#maxSize = maxSize;
  }

  /** @returns what is wrong, before anything of a message that is too large is kept */
  add(piece: Buffer): CallFailure | undefined {
    this.#pieces.push(piece);
    this.#received += piece.length;
    if (this.#expected === undefined) {
      if (this.#received < framePrefix) return undefined;
      const size = this.#readPrefix();
      if (size > this.#maxSize) return tooLarge(size, this.#maxSize);
      if (this.#flag > 1) return broken(`its first byte is ${this.#flag}, which gRPC does not know`);
    }
    return this.#received > (this.#expected ?? 0) ? broken('more than one message came') : undefined;
  }

  end(): GrpcMessage | CallFailure {
    if (this.#received === 0) return broken('no message came');
    const expected = this.#expected ?? framePrefix;
    if (this.#received < expected) return broken(`it ended after ${this.#received} of ${expected} bytes`);
    // One piece is not copied.
    const [first = Buffer.alloc(0), ...more] = this.#pieces;
    const whole = more.length === 0 ? first : Buffer.concat(this.#pieces, expected);
    return { bytes: whole.subarray(framePrefix), isCompressed: this.#flag === 1 };
  }

  /** @returns the message's length */
  #readPrefix(): number {
    const start = this.#pieces.length === 1 ? this.#pieces[0] : Buffer.concat(this.#pieces);
    const size = start?.readUInt32BE(1) ?? 0;
    this.#flag = start?.readUInt8(0) ?? 0;
    this.#expected = framePrefix + size;
    return size;
  }
}

function tooLarge(size: number, maxSize: number): CallFailure {
  return new CallFailure(
    grpcStatus.RESOURCE_EXHAUSTED,
    `the message has ${size} bytes, and at most ${maxSize} are taken`,
  );
}

function broken(what: string): CallFailure {
  return new CallFailure(grpcStatus.INTERNAL, `the message cannot be read: ${what}`);
}
