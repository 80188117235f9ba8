/** A `Range` of one part (RFC 9110 section 14.1.2): `bytes=0-99`, `bytes=100-` or the last `bytes=-5`. */
export type ByteRange =
  | { readonly kind: 'from'; readonly first: number; readonly last?: number }
  | { readonly kind: 'suffix'; readonly length: number };

const grammar = /^bytes=(?:([0-9]{1,15})-([0-9]{0,15})|-([0-9]{1,15}))$/i;

/**
 * @returns undefined where it is not one valid range of bytes: RFC 9110 says to ignore it then, and to send the whole
 */
export function parseRange(header: string): ByteRange | undefined {
  const match = grammar.exec(header.trim());
  if (!match) return undefined;
  const [, first, last, suffix] = match;
  if (first === undefined) return { kind: 'suffix', length: Number(suffix) };
  if (!last) return { kind: 'from', first: Number(first) };
  if (Number(last) < Number(first)) return undefined;
  return { kind: 'from', first: Number(first), last: Number(last) };
}

export function printRange(range: ByteRange): string {
  return range.kind === 'suffix' ? `bytes=-${range.length}` : `bytes=${range.first}-${range.last ?? ''}`;
}
