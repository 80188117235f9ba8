/** One or more certificates; the first is the client's own (RFC 8446 section 4.4.2). */
const pem =
  /^\s*-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----(?:\s*-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----)*\s*$/;
const base64 = /^[A-Za-z0-9+/]+={0,2}$/;

/** The keys of Envoy's `x-forwarded-client-cert`, with one of which its value begins. */
const xfcc = /^(?:by|hash|cert|chain|subject|uri|dns)=/i;

/**
 * Reads the certificate in a header that a proxy wrote. Four forms are understood:
 *
 * - PEM, URL-encoded: nginx `$ssl_client_escaped_cert`, AWS `X-Amzn-Mtls-Clientcert` and `…-Leaf`
 * - base64 of DER: HAProxy `%[ssl_c_der,base64]`, Traefik, Caddy
 * - the same between colons: RFC 9440 `Client-Cert`
 * - `Cert="…"` in Envoy's `x-forwarded-client-cert`, where that has one element
 *
 * @returns what may be DER; or why there is none, in words that tell nothing of the value
 */
export function forwardedCertificate(value: string): Uint8Array | string {
  const item = /^:([^:]*):$/.exec(value);
  if (item !== null) return fromBase64(item[1] ?? '');
  if (!xfcc.test(value)) return fromText(value);
  const elements = splitUnquoted(value, ',');
  if (elements === undefined) return 'a quote in it does not end';
  // Each proxy on the way adds one. Which of them is true depends on all of them.
  if (elements.length > 1) return 'it has the certificates of several hops';
  const certificates = (splitUnquoted(value, ';') ?? []).flatMap((pair) => certificateIn(pair) ?? []);
  if (certificates.length !== 1) return `there are ${certificates.length} certificates (Cert="…") in it`;
  return fromText(certificates[0] ?? '');
}

function certificateIn(pair: string): string | undefined {
  const [, key = '', quoted, plain] = /^(\w+)=(?:"(.*)"|([^"]*))$/s.exec(pair) ?? [];
  if (key.toLowerCase() !== 'cert') return undefined;
  return quoted === undefined ? plain : quoted.replace(/\\(.)/g, '$1');
}

function fromText(value: string): Uint8Array | string {
  let text: string;
  try {
    text = decodeURIComponent(value);
  } catch {
    return 'its URL encoding is damaged';
  }
  const block = pem.exec(text);
  return fromBase64(block === null ? text : (block[1] ?? '').replace(/\s+/g, ''));
}

function fromBase64(text: string): Uint8Array | string {
  return base64.test(text) ? Buffer.from(text, 'base64') : 'it has none of the forms that are understood';
}

/** @returns undefined where a quoted string does not end (RFC 9110 section 5.6.4) */
function splitUnquoted(text: string, separator: string): readonly string[] | undefined {
  const parts = [''];
  let isQuoted = false;
  for (let i = 0; i < text.length; i++) {
    const character = text[i] ?? '';
    if (!isQuoted && character === separator) {
      parts.push('');
      continue;
    }
    if (character === '"') isQuoted = !isQuoted;
    const isEscape = isQuoted && character === '\\';
    parts[parts.length - 1] += isEscape ? text.slice(i, i + 2) : character;
    if (isEscape) i++;
  }
  return isQuoted ? undefined : parts;
}
