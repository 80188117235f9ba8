import type { CallOptions, ClientCredentials, Principal, Verifier } from '../contracts/index.js';
import { RegistryError } from '../errors.js';
import { isOwnToken } from '../protocol/own-token.js';
import type { LanedVerifier } from './throttle-verifier.js';

/**
 * Keeps what this proxy gave out itself from all other verifiers, and from the servers behind them: personal access
 * tokens, also mistyped ones, refresh tokens shown as a password, and either of them typed as the user name. They are
 * shown to the verifier of personal access tokens, and to nobody where there is none.
 */
export class OwnTokensVerifier implements LanedVerifier {
  readonly #others: LanedVerifier;
  readonly #personal: Verifier | undefined;

  /**
   * @param others closed with this one
   * @param personal undefined where there are no personal access tokens; whoever opened it closes it
   */
  constructor(others: LanedVerifier, personal: Verifier | undefined) {
    this.#others = others;
    this.#personal = personal;
  }

  async verify(credentials: ClientCredentials, o: CallOptions): Promise<Principal | undefined> {
    if (!showsOwnToken(credentials)) return this.#others.verify(credentials, o);
    const principal = await this.#personal?.verify(credentials, o);
    if (principal !== undefined) return principal;
    const what = this.#personal === undefined ? 'personal access tokens are off' : 'no personal access token';
    throw new RegistryError('UNAUTHORIZED', {
      reason: `what is shown begins with drp_, as tokens of this proxy do: ${what}`,
    });
  }

  laneOf(credentials: ClientCredentials): string {
    return showsOwnToken(credentials) ? 'drp_' : (this.#others.laneOf?.(credentials) ?? '');
  }

  async recheck(known: Principal, o: CallOptions): Promise<Principal | undefined> {
    return this.#others.recheck?.(known, o);
  }

  close(): Promise<void> {
    return this.#others.close();
  }
}

function showsOwnToken({ shown }: ClientCredentials): boolean {
  if (shown.kind === 'bearer') return isOwnToken(shown.token.reveal());
  return shown.kind === 'password' && (isOwnToken(shown.username) || isOwnToken(shown.password.reveal()));
}
