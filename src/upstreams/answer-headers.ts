import { type Headers, requestHeaders, responseHeaders } from '../contracts/index.js';
import { isDigest } from '../reference/digest.js';
import type { Answer } from './transport.js';

/** What of a client's request goes up. */
export function upwardHeaders(headers: Headers, without: readonly string[] = []): Record<string, string> {
  const up: Record<string, string> = {};
  for (const name of requestHeaders) {
    const value = headers.get(name);
    if (value !== undefined && !without.includes(name)) up[name] = value;
  }
  return up;
}

/** What of a client's request goes up with its body. Without a readable length the body goes up in chunks. */
export function bodyHeaders(headers: Headers): Record<string, string> {
  const up: Record<string, string> = {};
  for (const name of ['content-type', 'content-length', 'content-range']) {
    const value = headers.get(name);
    if (value !== undefined && (name !== 'content-length' || /^\d{1,15}$/.test(value))) up[name] = value;
  }
  return up;
}

/** What of an upstream's answer comes back. */
export function downwardHeaders(answer: Answer): Map<string, string> {
  const down = new Map<string, string>();
  for (const name of responseHeaders) {
    const value = answer.headers.get(name);
    if (value !== undefined) down.set(name, value);
  }
  const digest = down.get('docker-content-digest');
  if (digest !== undefined && !isDigest(digest)) down.delete('docker-content-digest');
  if (contentLength(answer) === undefined) down.delete('content-length');
  return down;
}

/** What of an answer to a write comes back: its body does not. */
export function writeHeaders(answer: Answer): Map<string, string> {
  const down = downwardHeaders(answer);
  for (const name of ['content-type', 'content-length', 'content-encoding', 'content-range'])
    down.delete(name);
  return down;
}

/** Bytes; undefined where it is missing or unreadable. */
export function contentLength(answer: Answer): number | undefined {
  const text = answer.headers.get('content-length');
  return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}

/** True where the bytes were changed on their way, although we ask for `identity`. */
export function isEncoded(answer: Answer): boolean {
  const encoding = answer.headers.get('content-encoding');
  return encoding !== undefined && encoding.toLowerCase() !== 'identity';
}
