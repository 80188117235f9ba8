import type { Secret } from '../secret.js';
import type { CallOptions, Closable } from './call-options.js';
import type { Principal } from './principal.js';

/** What a client shows about itself. */
export interface ClientCredentials {
  readonly shown:
    | { readonly kind: 'none' }
    | { readonly kind: 'password'; readonly username: string; readonly password: Secret }
    | { readonly kind: 'bearer'; readonly token: Secret };
  readonly connection: {
    /** The client's IP address; behind trusted proxies the one they report. */
    readonly address: string;
    /**
     * DER of the client's certificate: the one our TLS handshake accepted, or the one a trusted proxy says its own
     * handshake did. That the client has its key is proven; who signed it is for the verifier to find out.
     */
    readonly peerCertificate?: Uint8Array;
  };
}

/** The password or the token, whichever is shown. */
export function secretIn(shown: ClientCredentials['shown']): Secret | undefined {
  if (shown.kind === 'none') return undefined;
  return shown.kind === 'password' ? shown.password : shown.token;
}

/** An OpenID provider, as a verifier that trusts it reaches it. */
export interface OpenIdProvider {
  /** As its tokens name it (OpenID Connect Discovery 1.0 section 3). */
  readonly issuer: string;
  /** Whom its tokens must be for: `aud` in them names one of these. Tokens for others are not the verifier's. */
  readonly audiences: readonly string[];
  /** Bounded in time and size; follows no redirects. Rejects with UNAVAILABLE where there is no answer. */
  readonly fetch: typeof fetch;
}

/** Turns what a client shows into a principal. */
export interface Verifier extends Closable {
  /**
   * @returns the principal, or undefined: "not mine, ask the next"
   * @throws RegistryError UNAUTHORIZED: mine, and invalid. UNAVAILABLE: mine, and it cannot be verified now.
   *   TOOMANYREQUESTS: too many failures. In none of these cases is another verifier asked.
   */
  verify(credentials: ClientCredentials, o: CallOptions): Promise<Principal | undefined>;

  /** True where only this verifier can judge these credentials: it is then asked first. Cheap, and without I/O. */
  recognises?(credentials: ClientCredentials): boolean;

  /**
   * Looks up a principal it vouched for earlier, without credentials: before a refresh token or a personal access
   * token is honoured. A verifier that cannot do so leaves this out, and its principals get no refresh tokens.
   *
   * @returns the principal with its present groups, or undefined where it is gone or disabled
   * @throws RegistryError UNAVAILABLE
   */
  recheck?(known: Principal, o: CallOptions): Promise<Principal | undefined>;

  /** False where none of its principals is ever in a group, as it is configured: a rule for its groups is for nobody. */
  readonly givesGroups?: boolean;

  /** Where people sign in by browser: its ID tokens, shown as a bearer token, are this verifier's to judge. */
  readonly openIdProvider?: OpenIdProvider;
}
