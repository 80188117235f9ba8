import type { CallOptions, ClientCredentials, Principal, Verifier } from '../contracts/index.js';
import type { NamePattern } from '../settings/name-pattern.js';
import type { ChainedVerifier } from './chain-verifiers.js';

/**
 * Shows a verifier only the passwords of some user names, so that nobody's password is shown to the wrong server. Those
 * names are reserved for it: it is asked early, so that a dead directory before it locks nobody out. What comes without
 * a user name (a bearer token, a certificate) is not a password: the verifier sees it.
 */
export class LimitedVerifier implements ChainedVerifier {
  readonly #inner: Verifier;
  readonly #usernames: readonly NamePattern[];

  constructor(inner: Verifier, usernames: readonly NamePattern[]) {
    this.#inner = inner;
    this.#usernames = usernames;
  }

  async verify(credentials: ClientCredentials, o: CallOptions): Promise<Principal | undefined> {
    return this.#mayBeShown(credentials) ? this.#inner.verify(credentials, o) : undefined;
  }

  recognises(credentials: ClientCredentials): boolean {
    return this.#mayBeShown(credentials) && this.#inner.recognises?.(credentials) === true;
  }

  reserves(credentials: ClientCredentials): boolean {
    return credentials.shown.kind === 'password' && this.#mayBeShown(credentials);
  }

  async recheck(known: Principal, o: CallOptions): Promise<Principal | undefined> {
    return this.#inner.recheck?.(known, o);
  }

  close(): Promise<void> {
    return this.#inner.close();
  }

  #mayBeShown({ shown }: ClientCredentials): boolean {
    return shown.kind !== 'password' || this.#usernames.some((pattern) => pattern.matches(shown.username));
  }
}
