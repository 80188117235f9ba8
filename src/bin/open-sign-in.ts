import type { Configuration } from '../config/configuration.js';
import type { Closable, OpenIdProvider, StateStore, TokenIssuer, Verifier } from '../contracts/index.js';
import { MeteredVerifier } from '../decorators/meter-verifier.js';
import { describeError } from '../errors.js';
import { openSecret } from '../outgoing/open-secret.js';
import { OpenIdClient } from '../sign-in/open-id-client.js';
import { PersonalAccessTokenVerifier } from '../sign-in/personal-access-token-verifier.js';
import { PersonalAccessTokens } from '../sign-in/personal-access-tokens.js';
import { RecheckByProvider, RecheckByVerifier } from '../sign-in/recheck.js';
import { SignInService } from '../sign-in/sign-in-service.js';
import { SignedInPeople } from '../sign-in/signed-in-people.js';
import { type Opened, type Opener, OpeningError, type Surroundings } from './opener.js';

/** The sign-in by browser, and the verifier of the tokens it gives. */
export interface SignIn extends Closable {
  readonly service: SignInService;
  /** Metered. */
  readonly verifier: Verifier;
}

interface Given {
  readonly state: Opened<StateStore>;
  readonly tokens: Opened<TokenIssuer>;
  /** The one of `signIn.verifier`, as its driver opened it. */
  readonly verifier: Opened<Verifier>;
}

/** What the provider's redirect URI is, below `externalUrl`. */
const callbackPath = '/sign-in/callback';

/**
 * @returns undefined where `signIn` is absent
 * @throws OpeningError
 */
export async function openSignIn(
  opener: Opener,
  configuration: Configuration,
  surroundings: Surroundings,
  given: Given,
): Promise<Opened<SignIn> | undefined> {
  const { signIn, externalUrl, baseDirectory } = configuration;
  if (signIn === undefined) return undefined;
  const { state, tokens, verifier } = given;
  const from = [signIn, externalUrl.origin, baseDirectory, state.key, tokens.key, verifier.key];
  return opener.share(['sign-in', ...from], () => open(configuration, surroundings, given));
}

async function open(
  configuration: Configuration,
  { clock, log, metrics }: Surroundings,
  given: Given,
): Promise<SignIn> {
  const { signIn, externalUrl } = configuration;
  if (signIn === undefined) throw new RangeError('signIn is absent');
  const [state, tokens] = [given.state.part, given.tokens.part];
  const { verifier: id, clientId, scopes, session, tokens: limits } = signIn;
  const clientSecret = await openClientSecret(configuration, { log });
  const client = new OpenIdClient({
    ...{ provider: providerOf(signIn, given.verifier.part), clientId, scopes, clock },
    redirectUri: new URL(callbackPath, externalUrl),
    ...(clientSecret && { clientSecret }),
  });
  const verifier = new MeteredVerifier(given.verifier.part, id, metrics);
  const byProvider = new RecheckByProvider(client, verifier, tokens);
  const recheck = given.verifier.part.recheck === undefined ? byProvider : new RecheckByVerifier(verifier);
  const life = session + limits.maxLife;
  const people = new SignedInPeople({
    ...{ state, clock, log, recheck },
    limits: { life, recheck: limits.recheck },
  });
  const personalTokens = new PersonalAccessTokens(state, clock, limits);
  const service = new SignInService({
    ...{ verifier, verifierId: id, client, refreshTokens: byProvider, personalTokens, people },
    ...{ state, tokens, clock, sessionLife: session },
    lives: { suggested: limits.life, max: limits.maxLife },
  });
  const ofTokens = new PersonalAccessTokenVerifier(id, personalTokens, people);
  return {
    service,
    verifier: new MeteredVerifier(ofTokens, 'personal-access-token', metrics),
    async close() {
      await people.close();
      client.close();
    },
  };
}

/** @throws OpeningError where people cannot sign in with this verifier, or it would let none of them in */
export function providerOf(
  { verifier: id, clientId }: Pick<NonNullable<Configuration['signIn']>, 'verifier' | 'clientId'>,
  { openIdProvider }: Verifier,
): OpenIdProvider {
  if (openIdProvider === undefined) {
    throw new OpeningError(
      'signIn.verifier',
      `people cannot sign in by browser with the verifier ${id}; name one of type oidc`,
    );
  }
  // ID tokens are for the client that asked for them (OpenID Connect Core 1.0 section 2).
  if (openIdProvider.audiences.includes(clientId)) return openIdProvider;
  throw new OpeningError(
    'signIn.clientId',
    `the verifier ${id} takes no ID token for ${clientId}; add that to its audiences`,
  );
}

/** @throws OpeningError */
export async function openClientSecret(
  { signIn, baseDirectory }: Configuration,
  { log }: Pick<Surroundings, 'log'>,
) {
  if (signIn?.clientSecret === undefined) return undefined;
  try {
    return await openSecret(signIn.clientSecret, { id: 'sign-in', baseDirectory, log });
  } catch (error) {
    throw new OpeningError('signIn.clientSecret', describeError(error), { cause: error });
  }
}
