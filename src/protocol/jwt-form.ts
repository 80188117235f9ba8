/** Bytes: longer ones are not looked at. */
const maxLength = 16_384;
const grammar = /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/;

/**
 * What a text claims to be that has the form of a signed JWT (RFC 7519): for deciding who is to judge it, and for
 * nothing else. Nothing in it has been verified.
 *
 * @returns undefined where it has another form
 */
export function unverifiedClaims(text: string): Readonly<Record<string, unknown>> | undefined {
  if (text.length > maxLength || !grammar.test(text)) return undefined;
  const [header = '', payload = ''] = text.split('.');
  if (parseObject(header) === undefined) return undefined;
  return parseObject(payload);
}

function parseObject(segment: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(segment, 'base64url').toString('utf8'));
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Readonly<Record<string, unknown>>)
      : undefined;
  } catch {
    return undefined;
  }
}
