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

/**
 * What the signature is over (RFC 7515 section 5.1). Of two texts with the same one, both valid, at most the signatures
 * differ: its last character has bits that nobody looks at, so that one token can be written in several ways.
 */
export function signingInput(token: string): string {
  return token.slice(0, Math.max(token.lastIndexOf('.'), 0));
}
