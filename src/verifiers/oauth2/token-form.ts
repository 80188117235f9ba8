import { unverifiedClaims } from '../../protocol/jwt-form.js';
import { isOwnToken } from '../../protocol/own-token.js';

/** A JWT, signed or encrypted, in its compact form: its header begins with `{"`. */
const jwt = /^eyJ[\w-]*(?:\.[\w-]*){2}(?:(?:\.[\w-]*){2})?$/;

/** True for what is a token by its form, and so nobody's password. */
export function hasTokenForm(text: string): boolean {
  return isOwnToken(text) || jwt.test(text) || unverifiedClaims(text) !== undefined;
}

/** RFC 6749 appendix A.12: an access token has no other characters; most other texts are passwords. */
export function canBeAccessToken(text: string): boolean {
  return /^[\x20-\x7e]{1,16384}$/.test(text);
}
