import type { Headers } from '../../contracts/index.js';

/** The head of an answer whose body's bytes are counted. */
export interface AnswerHead {
  readonly status: number;
  /** By their names in lower case; what came several times is one list. */
  readonly headers: Headers;
  /** Bytes of its body. */
  readonly length: number;
  /** Milliseconds that the connection may be kept for the next request; 0: it must not be used again. */
  readonly keepAlive: number;
}

const statusLine = /^HTTP\/1\.1 ([2-5]\d\d)(?: [\t\x20-\x7e\x80-\xff]*)?$/;
const field =
  /^([!#$%&'*+.^_`|~\dA-Za-z-]+):[\t ]*((?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?)[\t ]*$/;
/** What may come once only: which one counts would be a guess. */
const single = ['content-length', 'content-type', 'content-range', 'location', 'docker-content-digest'];

const longestIdle = 30_000;
/** What the other side says it waits is shorter by what the way takes. */
const margin = 1_000;

/**
 * The answer to a GET by RFC 9112, as strict as it can be read: only HTTP/1.1, only a body with one Content-Length and no
 * transfer coding.
 *
 * @param text Latin-1, without the empty line at its end
 * @returns undefined where there is anything else, which does not mean that it is wrong
 */
export function parseAnswerHead(text: string): AnswerHead | undefined {
  const [first = '', ...lines] = text.split('\r\n');
  const status = Number(statusLine.exec(first)?.[1]);
  if (Number.isNaN(status)) return undefined;
  const headers = new Map<string, string>();
  for (const line of lines) {
    const match = field.exec(line);
    if (match === null) return undefined;
    const [, written = '', value = ''] = match;
    const name = written.toLowerCase();
    const earlier = headers.get(name);
    if (earlier === undefined) headers.set(name, value);
    else if (single.includes(name)) return undefined;
    else headers.set(name, `${earlier}, ${value}`);
  }
  if (headers.has('transfer-encoding') || headers.has('upgrade')) return undefined;
  const length = bodyLength(status, headers.get('content-length'));
  return length === undefined ? undefined : { status, headers, length, keepAlive: keepAliveOf(headers) };
}

/** RFC 9112 section 6.3. */
function bodyLength(status: number, declared: string | undefined): number | undefined {
  const isReadable = declared !== undefined && /^\d{1,15}$/.test(declared);
  if (status === 304) return declared === undefined || isReadable ? 0 : undefined;
  if (status === 204) return declared === undefined ? 0 : undefined;
  return isReadable ? Number(declared) : undefined;
}

function keepAliveOf(headers: Headers): number {
  const connection = headers.get('connection')?.toLowerCase();
  if (connection !== undefined && connection !== 'keep-alive') return 0;
  const seconds = /(?:^|[,;\s])timeout=(\d{1,6})/i.exec(headers.get('keep-alive') ?? '')?.[1];
  if (seconds === undefined) return longestIdle;
  return Math.max(Math.min(Number(seconds) * 1000 - margin, longestIdle), 0);
}
