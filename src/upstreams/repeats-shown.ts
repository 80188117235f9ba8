import type { Secret } from '../secret.js';

/** Shorter pieces are parts of ordinary words. */
const longPiece = 12;
const longSecret = 4;

/**
 * True where a text tells something of the `Authorization` that was sent: the whole of it, the password in it, or a piece
 * of either.
 */
export function repeatsShown(text: string, authorization: Secret): boolean {
  const secrets = secretsIn(authorization.reveal()).filter((secret) => secret.length >= longSecret);
  if (secrets.some((secret) => text.includes(secret))) return true;
  const pieces = text.split(/[^\w/+=.~-]+/).filter((piece) => piece.length >= longPiece);
  return pieces.some((piece) => secrets.some((secret) => secret.includes(piece)));
}

/** RFC 7617, RFC 6750. */
function secretsIn(authorization: string): readonly string[] {
  const parameter = authorization.replace(/^\S+ +/, '');
  if (!/^basic /i.test(authorization)) return [parameter];
  const text = Buffer.from(parameter, 'base64').toString('utf8');
  return [parameter, text, text.slice(text.indexOf(':') + 1)];
}
