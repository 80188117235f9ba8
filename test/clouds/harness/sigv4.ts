import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';

// AWS Signature Version 4 as a server checks it, by its documentation ("Create a signed AWS API request").

export interface SignedRequest {
  readonly method: string;
  readonly url: URL;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  /** S3 alone: presigned requests leave their body unsigned. */
  readonly unsignedBody?: boolean;
}

export interface SigningKeys {
  readonly secretAccessKey: string;
  /** Of temporary keys, which are worth nothing without it. */
  readonly sessionToken?: string;
  /** Milliseconds since the epoch. */
  readonly expiresAt?: number;
}

export interface SignatureRules<K extends SigningKeys> {
  /** The name of the service in the credential scope: `ecr`, `sts`. */
  readonly service: string;
  readonly region: string;
  readonly keys: (accessKeyId: string) => K | undefined;
  /** Milliseconds since the epoch. */
  readonly now: number;
}

export type Refusal =
  | 'unsigned'
  | 'unknown key'
  | 'wrong token'
  | 'expired token'
  | 'skewed'
  | 'wrong signature';
export type Verdict<K> = { readonly keys: K } | { readonly refused: Refusal };

const maxSkew = 5 * 60_000;
const form =
  /^AWS4-HMAC-SHA256 Credential=([A-Z0-9]+)\/(\d{8})\/([a-z0-9-]+)\/([a-z0-9-]+)\/aws4_request, ?SignedHeaders=([a-z0-9;-]+), ?Signature=([0-9a-f]{64})$/;

/** Computes the signature anew and says whose it is. */
export function checkSignature<K extends SigningKeys>(
  request: SignedRequest,
  { service, region, keys, now }: SignatureRules<K>,
): Verdict<K> {
  const { headers } = request;
  const [, id, day, scopeRegion, scopeService, signed, signature] =
    form.exec(headers.authorization ?? '') ?? [];
  if (id === undefined || signed === undefined || signature === undefined) return { refused: 'unsigned' };
  const known = keys(id);
  if (known === undefined) return { refused: 'unknown key' };
  if (headers['x-amz-security-token'] !== known.sessionToken) return { refused: 'wrong token' };
  if (known.expiresAt !== undefined && known.expiresAt <= now) return { refused: 'expired token' };
  const names = signed.split(';');
  const needed = [
    'host',
    'x-amz-date',
    ...(known.sessionToken === undefined ? [] : ['x-amz-security-token']),
  ];
  const date = String(headers['x-amz-date'] ?? '');
  if (!needed.every((name) => names.includes(name)) || date.slice(0, 8) !== day)
    return { refused: 'unsigned' };
  if (scopeRegion !== region || scopeService !== service) return { refused: 'wrong signature' };
  if (Math.abs(parseDate(date) - now) > maxSkew) return { refused: 'skewed' };
  const isRight = isSignature(signature, request, { date, region, service, names, keys: known });
  return isRight ? { keys: known } : { refused: 'wrong signature' };
}

/** All that a presigned query has; `X-Amz-Security-Token` is there with temporary keys alone. */
const presignedForms = {
  'X-Amz-Algorithm': /^AWS4-HMAC-SHA256$/,
  'X-Amz-Credential': /^[A-Z0-9]+\/\d{8}\/[a-z0-9-]+\/[a-z0-9-]+\/aws4_request$/,
  'X-Amz-Date': /^\d{8}T\d{6}Z$/,
  'X-Amz-Expires': /^\d{1,6}$/,
  'X-Amz-SignedHeaders': /^[a-z0-9;-]+$/,
  'X-Amz-Signature': /^[0-9a-f]{64}$/,
} as const;

/** Milliseconds. STS heeds this and not what `X-Amz-Expires` says. */
const presignedLife = 15 * 60_000;

/** As `checkSignature`, where the signature is in the query ("Add the signature to the request", query string parameters). */
export function checkPresigned<K extends SigningKeys>(
  request: SignedRequest,
  { service, region, keys, now }: SignatureRules<K>,
): Verdict<K> {
  const { url, headers } = request;
  const one = (name: string) => {
    const values = url.searchParams.getAll(name);
    return values.length === 1 ? (values[0] ?? '') : '';
  };
  const isWhole = Object.entries(presignedForms).every(([name, form]) => form.test(one(name)));
  const names = one('X-Amz-SignedHeaders').split(';');
  const isSent = names.every((name) => headers[name] !== undefined);
  // "The host header must be included; all x-amz- headers must be."
  const needed = ['host', ...Object.keys(headers).filter((name) => name.startsWith('x-amz-'))];
  const isSorted = names.join() === [...names].sort().join();
  if (!isWhole || !isSent || !isSorted || !needed.every((name) => names.includes(name)))
    return { refused: 'unsigned' };
  const [id = '', day, scopeRegion, scopeService] = one('X-Amz-Credential').split('/');
  const known = keys(id);
  if (known === undefined) return { refused: 'unknown key' };
  const token = url.searchParams.getAll('X-Amz-Security-Token');
  if (token.length > 1 || token[0] !== known.sessionToken) return { refused: 'wrong token' };
  if (known.expiresAt !== undefined && known.expiresAt <= now) return { refused: 'expired token' };
  const date = one('X-Amz-Date');
  if (date.slice(0, 8) !== day || scopeRegion !== region || scopeService !== service)
    return { refused: 'wrong signature' };
  const age = now - parseDate(date);
  if (!(age <= presignedLife && age >= -maxSkew)) return { refused: 'skewed' };
  const unsigned = new URL(url);
  unsigned.searchParams.delete('X-Amz-Signature');
  const all = { date, region, service, names, keys: known };
  const isRight = isSignature(one('X-Amz-Signature'), { ...request, url: unsigned }, all);
  return isRight ? { keys: known } : { refused: 'wrong signature' };
}

interface Scope {
  readonly date: string;
  readonly region: string;
  readonly service: string;
  readonly names: readonly string[];
  readonly keys: SigningKeys;
}

function isSignature(
  signature: string,
  request: SignedRequest,
  { date, region, service, names, keys }: Scope,
): boolean {
  const parts = [date.slice(0, 8), region, service, 'aws4_request'];
  const toSign = ['AWS4-HMAC-SHA256', date, parts.join('/'), sha256(canonical(request, names))].join('\n');
  const key = parts.reduce<string | Buffer>(
    (above, part) => hmac(above, part),
    `AWS4${keys.secretAccessKey}`,
  );
  return timingSafeEqual(hmac(key, toSign), Buffer.from(signature, 'hex'));
}

/** "Step 1: Create a canonical request". The services here have no paths but plain ones. */
function canonical(
  { method, url, headers, body, unsignedBody }: SignedRequest,
  names: readonly string[],
): string {
  const query = [...url.searchParams]
    .map(([name, value]) => `${encode(name)}=${encode(value)}`)
    .sort()
    .join('&');
  const lines = names.map(
    (name) =>
      `${name}:${String(headers[name] ?? '')
        .trim()
        .replace(/ +/g, ' ')}\n`,
  );
  return [
    method,
    url.pathname,
    query,
    lines.join(''),
    names.join(';'),
    unsignedBody ? 'UNSIGNED-PAYLOAD' : sha256(body),
  ].join('\n');
}

function encode(text: string): string {
  return encodeURIComponent(text).replace(
    /[!'()*]/g,
    (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

function parseDate(text: string): number {
  return Date.parse(text.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/, '$1-$2-$3T$4:$5:$6Z'));
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

function hmac(key: string | Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest();
}
