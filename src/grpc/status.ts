import type { ServerHttp2Stream } from 'node:http2';

/**
 * Bytes of an encoded `grpc-message`. Clients bound the whole of the trailers, some at 8 KiB, and one that is over it
 * loses the status too.
 */
const maxEncodedMessage = 4096;
const ellipsis = '...';

/**
 * Percent-encodes a status message (gRPC over HTTP/2, "Responses"), and cuts its end where it is too long.
 *
 * @param room bytes that there are in any case
 */
export function encodeStatusMessage(message: string, room = 0): string {
  const longest = Math.max(maxEncodedMessage, room) - ellipsis.length;
  let encoded = '';
  for (const character of message) {
    const next = isPlain(character) ? character : percentEncoded(character);
    if (encoded.length + next.length > longest) return `${encoded}${ellipsis}`;
    encoded += next;
  }
  return encoded;
}

/** What is no percent-encoding stays as it is: the specification forbids to lose it. */
export function decodeStatusMessage(encoded: string): string {
  // Node hands headers over as latin1: what came as bare UTF-8 is put together again.
  const bytes = Buffer.from(
    encoded.replace(/%([0-9a-fA-F]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16))),
    'latin1',
  );
  return bytes.toString('utf8');
}

/**
 * Ends a call with a status: in headers alone where none were sent, in trailers otherwise; for these the front must have
 * responded with `waitForTrailers`. A stream that was ended or reset before stays as it is. Never throws.
 *
 * @param message for people; it holds no secret
 */
export function endWithStatus(stream: ServerHttp2Stream, code: number, message: string): void {
  if (stream.destroyed || stream.closed || stream.writableEnded) return;
  const status = {
    'grpc-status': String(code),
    ...(message !== '' && { 'grpc-message': encodeStatusMessage(message) }),
  };
  if (stream.headersSent) {
    stream.once('wantTrailers', () => stream.sendTrailers(status));
    stream.end();
    stream.resume(); // a request that nobody reads would keep the stream open
    return;
  }
  stream.respond({ ':status': 200, 'content-type': 'application/grpc', ...status }, { endStream: true });
}

/** What a timer of Node waits at most, in milliseconds; a longer one would end at once. */
const maxTimer = 2 ** 31 - 1;
const millisecondsOf = { H: 3_600_000, M: 60_000, S: 1_000, m: 1, u: 1e-3, n: 1e-6 } as const;

/**
 * `grpc-timeout` (gRPC over HTTP/2, "Requests").
 *
 * @returns milliseconds, fractions of one included, and never more than a timer takes; undefined where there is none, or
 * it cannot be read
 */
export function parseTimeout(header: string | readonly string[] | undefined): number | undefined {
  const match = typeof header === 'string' ? /^(\d{1,8})([HMSmun])$/.exec(header) : null;
  if (match === null) return undefined;
  return Math.min(Number(match[1]) * millisecondsOf[match[2] as keyof typeof millisecondsOf], maxTimer);
}

/** @param timeout milliseconds. @returns a `grpc-timeout`, of at most eight digits */
export function printTimeout(timeout: number): string {
  const left = Math.min(Math.max(timeout, 0), maxTimer);
  if (left < 10_000) return `${Math.round(left * 1_000)}u`;
  return left < 1e8 ? `${Math.round(left)}m` : `${Math.round(left / 1_000)}S`;
}

/** Printable ASCII but `%`. */
function isPlain(character: string): boolean {
  return character >= ' ' && character <= '~' && character !== '%';
}

function percentEncoded(character: string): string {
  return [...Buffer.from(character)]
    .map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`)
    .join('');
}
