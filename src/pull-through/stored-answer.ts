import type { CacheOutcome, Headers, RegistryRequest, RegistryResponse } from '../contracts/index.js';
import { RegistryError } from '../errors.js';
import { parseRange } from '../protocol/range.js';
import type { Digest } from '../reference/digest.js';

/** What is served from the cache. */
export interface StoredContent {
  readonly digest: Digest;
  /** Bytes. */
  readonly size: number;
  readonly mediaType: string;
}

/** The part of it that a request wants. `end` is not part of it. */
export interface Part {
  readonly start: number;
  readonly end: number;
}

/** An answer without its body. */
export type StoredAnswer = Omit<RegistryResponse, 'body'> & {
  /** Absent: there is no body. */
  readonly part?: Part;
};

/**
 * The answer from the cache: conditions first, then the range (RFC 9110 section 13.2.2). Content never changes, so its
 * digest is its entity tag.
 *
 * @throws RegistryError RANGE_INVALID where the range is outside of it
 */
export function storedAnswer(
  { method, headers, operation }: RegistryRequest,
  { digest, size, mediaType }: StoredContent,
  cache: CacheOutcome,
): StoredAnswer {
  const tag = `"${digest}"`;
  const common: readonly (readonly [string, string])[] = [
    ['content-type', mediaType],
    ['docker-content-digest', digest],
    ['etag', tag],
  ];
  if (isNamed(headers.get('if-none-match'), tag, digest)) {
    return { status: 304, headers: new Map(common), cache };
  }
  const isBlob = operation.kind === 'blob';
  const all = new Map([
    ...common,
    ['content-length', String(size)],
    ...(isBlob ? [['accept-ranges', 'bytes'] as const] : []),
  ]);
  if (method === 'HEAD') return { status: 200, headers: all, cache };
  const part = isBlob ? wantedPart(headers, size, tag) : undefined;
  if (part === undefined) return { status: 200, headers: all, cache, part: { start: 0, end: size } };
  all.set('content-length', String(part.end - part.start));
  all.set('content-range', `bytes ${part.start}-${part.end - 1}/${size}`);
  return { status: 206, headers: all, cache, part };
}

function isNamed(condition: string | undefined, tag: string, digest: string): boolean {
  if (condition === undefined) return false;
  const names = condition.split(',').map((one) => one.trim().replace(/^W\//, ''));
  return names.includes(tag) || names.includes(digest) || names.includes('*');
}

/** @returns undefined where the whole is wanted */
function wantedPart(headers: Headers, size: number, tag: string): Part | undefined {
  const text = headers.get('range');
  const range = text === undefined ? undefined : parseRange(text);
  const condition = headers.get('if-range');
  if (range === undefined || (condition !== undefined && condition !== tag)) return undefined;
  if (range.kind === 'suffix') {
    if (range.length === 0 || size === 0) throw outside(size);
    return { start: Math.max(size - range.length, 0), end: size };
  }
  if (range.first >= size) throw outside(size);
  return { start: range.first, end: Math.min((range.last ?? size - 1) + 1, size) };
}

function outside(size: number): RegistryError {
  return new RegistryError('RANGE_INVALID', { reason: `the blob has ${size} bytes` });
}
