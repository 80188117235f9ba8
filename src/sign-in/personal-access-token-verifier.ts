import type { CallOptions, ClientCredentials, Principal, Verifier } from '../contracts/index.js';
import { secretIn } from '../contracts/verifier.js';
import { RegistryError } from '../errors.js';
import type { Secret } from '../secret.js';
import { type PersonalAccessTokens, tokenPrefix } from './personal-access-tokens.js';
import type { SignedInPeople } from './signed-in-people.js';

/**
 * No verifier's present one: so no refresh token comes of a personal access token, which would outlive its revocation.
 */
const credentialVersion = 'personal-access-token';

/**
 * Takes personal access tokens, with any user name. Whoever has one is who signed in for it, with the groups they have
 * now; their names and groups are those of the verifier they signed in with.
 */
export class PersonalAccessTokenVerifier implements Verifier {
  readonly #verifier: string;
  readonly #tokens: PersonalAccessTokens;
  readonly #people: SignedInPeople;

  /** @param verifier the id of the one people sign in with */
  constructor(verifier: string, tokens: PersonalAccessTokens, people: SignedInPeople) {
    this.#verifier = verifier;
    this.#tokens = tokens;
    this.#people = people;
  }

  async verify(credentials: ClientCredentials, o: CallOptions): Promise<Principal | undefined> {
    const token = tokenOf(credentials);
    if (token === undefined) return undefined;
    const found = await this.#tokens.find(token, o);
    if (found.record.verifier !== this.#verifier) {
      throw new RegistryError('UNAUTHORIZED', {
        reason: `a personal access token of ${found.record.verifier}, which is not signIn.verifier any more`,
      });
    }
    const who = await this.#people.present(found.record, o);
    await this.#tokens.noteUse(found, o);
    return { ...who, expiresAt: found.expiresAt, credentialVersion };
  }

  /** Also a mistyped one: no other verifier, and no directory behind it, is to see most of a token. */
  recognises(credentials: ClientCredentials): boolean {
    return tokenOf(credentials) !== undefined;
  }

  async close(): Promise<void> {}
}

function tokenOf({ shown }: ClientCredentials): Secret | undefined {
  const secret = secretIn(shown);
  return secret?.reveal().startsWith(tokenPrefix) === true ? secret : undefined;
}
