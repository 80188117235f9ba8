import type { IncomingMessage, ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { RegistryError } from '../errors.js';
import { parseRange } from '../protocol/range.js';
import type { BlobContent } from './blob-content.js';
import type { FaultEffect } from './faults.js';
import type { OpenRequest } from './request-log.js';

/** What an endpoint answers, before faults change it. */
export interface Answer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** Left out for HEAD, whose headers still speak of it. */
  readonly body?: Body;
}

interface Body {
  readonly size: number;
  read(): Iterable<Buffer>;
}

/** One request to a server of the memory registry. */
export interface Exchange {
  readonly request: IncomingMessage;
  readonly method: string;
  readonly url: URL;
  readonly entry: OpenRequest;
  readonly fault: FaultEffect | undefined;
}

export function bytesAnswer(
  status: number,
  bytes: Uint8Array,
  headers: Readonly<Record<string, string>> = {},
): Answer {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return { status, headers, body: { size: buffer.length, read: () => [buffer] } };
}

export function jsonAnswer(
  status: number,
  value: unknown,
  headers: Readonly<Record<string, string>> = {},
): Answer {
  return bytesAnswer(status, Buffer.from(JSON.stringify(value)), {
    'content-type': 'application/json',
    ...headers,
  });
}

/** OCI distribution-spec v1.1, "Error Codes". */
export function errorAnswer(error: RegistryError, headers: Readonly<Record<string, string>> = {}): Answer {
  const { code, message, detail } = error;
  const body = { errors: [{ code, message, ...(detail && { detail }) }] };
  return jsonAnswer(error.status, body, headers);
}

/**
 * A blob, or the part of it that `Range` asks for (RFC 9110 section 14.2).
 *
 * @throws RegistryError RANGE_INVALID
 */
export function contentAnswer(
  content: BlobContent,
  rangeHeader: string | undefined,
  headers: Readonly<Record<string, string>>,
): Answer {
  const all = { 'accept-ranges': 'bytes', ...headers };
  const range = rangeHeader === undefined ? undefined : parseRange(rangeHeader);
  if (!range) return { status: 200, headers: all, body: { size: content.size, read: () => content.read() } };
  const first = range.kind === 'from' ? range.first : Math.max(content.size - range.length, 0);
  const last =
    range.kind === 'from' ? Math.min(range.last ?? content.size, content.size - 1) : content.size - 1;
  if (first > last) throw new RegistryError('RANGE_INVALID');
  return {
    status: 206,
    headers: { ...all, 'content-range': `bytes ${first}-${last}/${content.size}` },
    body: { size: last - first + 1, read: () => content.read(first, last) },
  };
}

/** Sends an answer as a fault wants it. Resolves when everything left, or the connection is gone. */
export async function send(
  exchange: Exchange,
  response: ServerResponse,
  answer: Answer,
  fault: FaultEffect | undefined,
): Promise<void> {
  const { entry } = exchange;
  entry.status = answer.status;
  response.statusCode = answer.status;
  for (const [name, value] of Object.entries(answer.headers ?? {})) response.setHeader(name, value);
  setFraming(response, answer, fault);
  for (const [name, value] of Object.entries(fault?.headers ?? {})) {
    if (value === '') response.removeHeader(name);
    else response.setHeader(name, value);
  }
  if (exchange.method !== 'HEAD' && answer.body) {
    const whole = await sendBody(response, answer.body, fault, entry);
    if (!whole) return;
  }
  response.end();
}

function setFraming(response: ServerResponse, answer: Answer, fault: FaultEffect | undefined): void {
  if (fault?.framing === undefined) {
    const without = answer.status === 204 || answer.status === 304;
    if (!without) response.setHeader('content-length', answer.body?.size ?? 0);
    return;
  }
  if (fault.framing === 'close') {
    response.shouldKeepAlive = false;
    response.removeHeader('transfer-encoding'); // without either header the end of the connection ends the body
  }
}

/** @returns false where the connection is gone or was cut */
async function sendBody(
  response: ServerResponse,
  body: Body,
  fault: FaultEffect | undefined,
  entry: OpenRequest,
): Promise<boolean> {
  const limit = Math.min(fault?.cutAfter ?? body.size, fault?.stallAfter ?? body.size);
  response.flushHeaders();
  for (const piece of body.read()) {
    const taken = corrupted(piece.subarray(0, limit - entry.sentBytes), fault?.corruptAt, entry.sentBytes);
    if (taken.length > 0 && !(await write(response, taken))) return false;
    entry.sentBytes += taken.length;
    if (entry.sentBytes >= limit) break;
  }
  if (fault?.cutAfter !== undefined) {
    entry.cutByFault = true;
    await new Promise<void>((resolve) => response.write('', () => resolve()));
    response.socket?.destroySoon();
    return false;
  }
  if (fault?.stallAfter !== undefined) {
    await entry.settled;
    return false;
  }
  return true;
}

function corrupted(piece: Buffer, at: number | undefined, offset: number): Buffer {
  if (at === undefined || at < offset || at >= offset + piece.length) return piece;
  const copy = Buffer.from(piece);
  copy[at - offset] = (copy[at - offset] ?? 0) ^ 1;
  return copy;
}

/** Waits while the client does not read. @returns false where it is gone */
function write(response: ServerResponse, piece: Buffer): Promise<boolean> {
  if (response.destroyed) return Promise.resolve(false);
  if (response.write(piece)) return Promise.resolve(true);
  return new Promise((resolve) => {
    const done = (alive: boolean) => {
      response.off('drain', onDrain);
      response.off('close', onClose);
      resolve(alive);
    };
    const onDrain = () => done(true);
    const onClose = () => done(false);
    response.once('drain', onDrain);
    response.once('close', onClose);
  });
}

/** Waits a fault's delay, or until the client goes away. */
export async function delay(milliseconds: number, entry: OpenRequest): Promise<void> {
  await Promise.race([sleep(milliseconds, undefined, { ref: false }), entry.settled]);
}

/** Reads a request's body; what was read before the client went away stays with `onPiece`. */
export async function readBody(exchange: Exchange, onPiece: (piece: Buffer) => void): Promise<void> {
  const { request, entry, fault } = exchange;
  for await (const piece of request as AsyncIterable<Buffer>) {
    entry.receivedBytes += piece.length;
    onPiece(piece);
    if (fault?.resetAfter !== undefined && entry.receivedBytes >= fault.resetAfter) {
      entry.cutByFault = true;
      request.socket.resetAndDestroy();
    } else if (fault?.bodyRate !== undefined) {
      await delay((piece.length / fault.bodyRate) * 1000, entry);
    }
  }
}

/** @throws RegistryError SIZE_INVALID with status 413 over `limit` bytes */
export async function readSmallBody(exchange: Exchange, limit: number): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let size = 0;
  await readBody(exchange, (piece) => {
    size += piece.length;
    if (size <= limit) pieces.push(piece);
  });
  if (size > limit) throw new RegistryError('SIZE_INVALID', { status: 413 });
  return Buffer.concat(pieces);
}
