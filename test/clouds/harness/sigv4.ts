import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';

// AWS Signature Version 4 as a server checks it, by its documentation ("Create a signed AWS API request").

export interface SignedRequest {
  readonly method: string;
  readonly url: URL;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
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
  /^AWS4-HMAC-SHA256 Credential=([A-Z0-9]+)\/(\d{8})\/([a-z0-9-]+)\/([a-z-]+)\/aws4_request, ?SignedHeaders=([a-z0-9;-]+), ?Signature=([0-9a-f]{64})$/;

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
  const scope = `${day}/${region}/${service}/aws4_request`;
  const toSign = ['AWS4-HMAC-SHA256', date, scope, sha256(canonical(request, names))].join('\n');
  const key = [day ?? '', region, service, 'aws4_request'].reduce<string | Buffer>(
    (above, part) => hmac(above, part),
    `AWS4${known.secretAccessKey}`,
  );
  const right = timingSafeEqual(hmac(key, toSign), Buffer.from(signature, 'hex'));
  return right ? { keys: known } : { refused: 'wrong signature' };
}

/** "Step 1: Create a canonical request". The services here have no paths but plain ones. */
function canonical({ method, url, headers, body }: SignedRequest, names: readonly string[]): string {
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
  return [method, url.pathname, query, lines.join(''), names.join(';'), sha256(body)].join('\n');
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
