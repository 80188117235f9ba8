import type { Scope } from '../reference/scope.js';
import type { Secret } from '../secret.js';
import type { CallOptions, Closable } from './call-options.js';
import type { Principal } from './principal.js';

export interface IssuedToken {
  readonly token: Secret;
  /** Milliseconds since the epoch. */
  readonly issuedAt: number;
  /**
   * Seconds; never under 60, which is what clients assume where it is missing (token.md). Where the principal's
   * `expiresAt` comes sooner that wins: the token ends with it, though a client may take it for good until the 60 s
   * are over and then sees one 401.
   */
  readonly expiresIn: number;
}

/** What a token stands for. */
export interface Access {
  readonly principal: Principal;
  /** Canonical names. */
  readonly grants: readonly Scope[];
  /** Milliseconds since the epoch. */
  readonly expiresAt: number;
}

/** Makes tokens, and opens those it made. */
export interface TokenIssuer extends Closable {
  /**
   * @param granted what the policy granted, no more
   * @throws RegistryError UNAUTHORIZED where the principal has expired; DENIED where the token would be too long for
   *   `open`
   */
  issue(
    who: Principal,
    granted: readonly Scope[],
    o: CallOptions & { readonly service: string },
  ): Promise<IssuedToken>;

  /** @throws RegistryError UNAUTHORIZED with `invalid_token`: forged, expired, or made for another service */
  open(token: Secret, o: CallOptions & { readonly service: string }): Promise<Access>;

  /** What others need to verify these tokens. Public by nature. */
  publicKeys(): PublicKeys;

  /**
   * Secret keys of 32 bytes, derived from the signing keys: whoever shares those has the same ones. The first seals, all
   * open. They say nothing of the signing keys, nor of another purpose's.
   */
  derivedKeys(purpose: string): readonly Uint8Array[];
}

export interface PublicKeys {
  /** RFC 7517 section 5, as JSON. */
  readonly jwks: { readonly keys: readonly Readonly<Record<string, unknown>>[] };
  /** The certificates that anchor `x5c`, as PEM: distribution's `rootcertbundle`. Empty where keys have none. */
  readonly certificates: string;
}
