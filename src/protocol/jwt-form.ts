import { parseJsonObject } from './json-object.js';

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
  const [header = '', payload = ''] = text
    .split('.')
    .map((part) => Buffer.from(part, 'base64url').toString('utf8'));
  return parseJsonObject(header) && parseJsonObject(payload);
}
