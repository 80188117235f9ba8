import type { OutgoingHttpHeaders } from 'node:http2';

/** Names and values in turn, as Node hands them over: repeated names keep their order, and values their bytes (latin1). */
export type RawHeaders = readonly string[];

/** Between two hops only (RFC 9113 section 8.2.2). */
const ofConnection = new Set([
  'connection',
  'http2-settings',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
]);

/** What a caller or a runtime has sent, to be sent on. Pseudo-headers are left to whoever sends it. */
export function sentOn(raw: RawHeaders): OutgoingHttpHeaders {
  // No prototype: `__proto__` is a key like any other.
  const headers: Record<string, string | string[]> = Object.create(null);
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const [name = '', value = ''] = [raw[i], raw[i + 1]];
    if (name.startsWith(':') || ofConnection.has(name)) continue;
    if (name === 'te' && value !== 'trailers') continue;
    const before = headers[name];
    if (before === undefined) headers[name] = value;
    else if (singleInNode.has(name)) headers[name] = `${before},${value}`;
    else if (Array.isArray(before)) before.push(value);
    else headers[name] = [before, value];
  }
  return headers;
}

/** The first value. */
export function firstValue(raw: RawHeaders, name: string): string | undefined {
  for (let i = 0; i + 1 < raw.length; i += 2) if (raw[i] === name) return raw[i + 1];
  return undefined;
}

/** The same with another value for `name`, where it stood first, or at the end where it was not there. */
export function withValue(raw: RawHeaders, name: string, value: string): RawHeaders {
  const changed = [...raw];
  for (let i = 0; i + 1 < raw.length; i += 2) {
    if (raw[i] !== name) continue;
    changed[i + 1] = value;
    return changed;
  }
  return [...raw, name, value];
}

/**
 * Node sends these once only, and throws otherwise. In gRPC metadata any key may be repeated, and values joined by commas
 * mean the same (gRPC over HTTP/2, "Custom-Metadata").
 */
const singleInNode = new Set([
  'access-control-allow-credentials',
  'access-control-max-age',
  'access-control-request-method',
  'age',
  'authorization',
  'content-encoding',
  'content-language',
  'content-length',
  'content-location',
  'content-md5',
  'content-range',
  'content-type',
  'date',
  'dnt',
  'etag',
  'expires',
  'from',
  'host',
  'if-match',
  'if-modified-since',
  'if-none-match',
  'if-range',
  'if-unmodified-since',
  'last-modified',
  'location',
  'max-forwards',
  'proxy-authorization',
  'range',
  'referer',
  'retry-after',
  'tk',
  'upgrade-insecure-requests',
  'user-agent',
  'x-content-type-options',
]);
