import { z } from 'zod';
import { defineDriver } from '../contracts/driver.js';
import type { CallOptions, ClientCredentials, Clock, Principal, Verifier } from '../contracts/index.js';
import { HttpCaller } from '../outgoing/http-caller.js';
import { openSecret, type SecretReader } from '../outgoing/open-secret.js';
import { unverifiedClaims } from '../protocol/jwt-form.js';
import { duration } from '../settings/duration.js';
import { namePattern } from '../settings/name-pattern.js';
import { secretSource } from '../settings/secret-source.js';
import { expectedPlainIssuer, isPlainIssuer, isSecureUrl, secureUrl } from '../settings/secure-url.js';
import { serverKeys } from '../settings/server-keys.js';
import { type Claims, textsOf } from './claims/claim-path.js';
import {
  accountOfClaims,
  accountOfUser,
  claimsServiceAccount,
  principalOf,
  type ServiceAccount,
} from './kubernetes/service-account.js';
import { isKubernetesUser, tokenIn } from './kubernetes/shown-token.js';
import { refused, TokenReviewer } from './kubernetes/token-review.js';
import { asRefusedMachine } from './machine/shown-proof.js';
import { FetchedKeys } from './openid/issuer-keys.js';
import { discoveredKeys, keysAt } from './openid/key-source.js';
import { verifyToken } from './openid/verify-token.js';

const expectedIssuer = 'expected the issuer as the tokens name it (`iss`)';

const config = z
  .strictObject({
    audiences: z
      .array(z.string().min(1), { error: 'expected a list of audiences' })
      .min(1, 'expected at least one audience')
      .describe(
        'Whom tokens must be for; name it in the projected volume. Choose one that nothing else accepts.',
      ),
    issuer: z
      .string({ error: expectedIssuer })
      .min(1, expectedIssuer)
      .refine(isPlainIssuer, expectedPlainIssuer)
      .optional()
      .describe(
        'Whose tokens count: `iss` in them, character by character. Its keys are found by discovery, or at `server`. With `review` it may be left out.',
      ),
    server: secureUrl()
      .optional()
      .describe("The API server, to fetch the keys from where the issuer's own URL cannot be reached."),
    jwksUri: secureUrl().optional().describe('Where the keys are, where they are in neither place.'),
    token: secretSource()
      .optional()
      .describe('What to show to `server`, where it does not give its keys to everybody.'),
    clockSkew: duration({ max: '5m' })
      .prefault('60s')
      .describe("How much the cluster's clock may differ from ours."),
    review: z
      .strictObject({
        server: secureUrl().describe('The API server.'),
        token: secretSource().describe(
          'Of a ServiceAccount that may create tokenreviews; a file is read again when it changes.',
        ),
      })
      .optional()
      .describe(
        'Asks the API server about each token (TokenReview) in place of checking signatures here: it also knows which pods are gone.',
      ),
    namespaces: z
      .array(namePattern(), { error: 'expected a list of namespaces' })
      .min(1, 'expected at least one namespace')
      .optional()
      .describe('Only ServiceAccounts of these; `*` stands for any characters.'),
    ...serverKeys,
  })
  .refine(({ issuer, review }) => issuer !== undefined || review !== undefined, {
    path: ['issuer'],
    error: 'is missing: without it, or `review`, the tokens of every cluster would count',
  })
  .refine((one) => one.review === undefined || (one.server ?? one.jwksUri ?? one.token) === undefined, {
    path: ['review'],
    error: 'cannot stand beside server, jwksUri and token: with it no keys are fetched',
  })
  .refine(({ server, jwksUri }) => server === undefined || jwksUri === undefined, {
    path: ['jwksUri'],
    error: 'cannot stand beside server: the keys come from one place',
  })
  .refine(({ server, token }) => token === undefined || server !== undefined, {
    path: ['token'],
    error: 'is shown to `server` alone, and there is none',
  })
  .refine((one) => (one.review ?? one.server ?? one.jwksUri) !== undefined || isSecureUrl(one.issuer ?? ''), {
    path: ['issuer'],
    error: 'is not an https URL that keys can be discovered at; give server, jwksUri or review',
  });

type Settings = z.output<typeof config>;

/** What a cluster made of a token; `expiresAt` in milliseconds since the epoch. */
interface Judged {
  readonly account: ServiceAccount | undefined;
  readonly expiresAt: number | undefined;
}

/** One of the two ways to have a token judged. */
interface Judge {
  /** @param claims those of the token, unverified */
  judge(token: string, claims: Claims, o: CallOptions): Promise<Judged>;
  close(): Promise<void>;
}

/**
 * Takes tokens of Kubernetes ServiceAccounts, shown as a bearer token, as the password of any user, or in the envelope of
 * the `kubernetes-token` source.
 */
class KubernetesVerifier implements Verifier {
  readonly #id: string;
  readonly #settings: Settings;
  readonly #judge: Judge;
  readonly #clock: Clock;

  constructor(id: string, settings: Settings, judge: Judge, clock: Clock) {
    this.#id = id;
    this.#settings = settings;
    this.#judge = judge;
    this.#clock = clock;
  }

  recognises({ shown }: ClientCredentials): boolean {
    try {
      return this.#claimsOfOurs(tokenIn(shown)) !== undefined;
    } catch {
      return true; // a damaged envelope: it is for us to say so
    }
  }

  async verify({ shown }: ClientCredentials, o: CallOptions): Promise<Principal | undefined> {
    o.signal.throwIfAborted();
    try {
      return await this.#principalOf(tokenIn(shown), o);
    } catch (error) {
      throw isKubernetesUser(shown) ? asRefusedMachine(error) : error;
    }
  }

  close(): Promise<void> {
    return this.#judge.close();
  }

  async #principalOf(token: string, o: CallOptions): Promise<Principal | undefined> {
    const claims = this.#claimsOfOurs(token);
    if (claims === undefined) return undefined;
    this.#refuseEarly(claims);
    const { account, expiresAt } = await this.#judge.judge(token, claims, o);
    if (account === undefined) throw refused('it is not of a ServiceAccount');
    const { namespaces } = this.#settings;
    if (namespaces?.some((pattern) => pattern.matches(account.namespace)) === false) {
      throw refused(`the namespace ${account.namespace} is not one that is allowed`);
    }
    return principalOf(account, this.#id, expiresAt);
  }

  /** @returns undefined where the token is for somebody else to judge */
  #claimsOfOurs(text: string): Claims | undefined {
    const claims = unverifiedClaims(text);
    if (claims === undefined) return undefined;
    const { issuer } = this.#settings;
    const isOurs = issuer === undefined ? claimsServiceAccount(claims) : claims.iss === issuer;
    return isOurs ? claims : undefined;
  }

  /**
   * What says itself that it is not good is worth no question to a server. No audience at all is for that to judge:
   * tokens of the old kind have none.
   */
  #refuseEarly({ aud, exp }: Claims): void {
    const { audiences, clockSkew } = this.#settings;
    if (aud !== undefined && !textsOf(aud).some((one) => audiences.includes(one))) {
      throw refused(`it is for other audiences (aud) than ${audiences.join(', ')}`);
    }
    if (typeof exp === 'number' && exp * 1000 + clockSkew <= this.#clock.now())
      throw refused('it has expired');
  }
}

/** By the signature, and nothing else: that a pod is gone is not noticed before its token ends. */
async function openDiscovery(settings: Settings, caller: HttpCaller, given: Given): Promise<Judge> {
  const { issuer = '', server, jwksUri, audiences, clockSkew } = settings;
  const ownToken = settings.token && (await openSecret(settings.token, given));
  const uri = server === undefined ? jwksUri : `${server.replace(/\/+$/, '')}/openid/v1/jwks`;
  const source =
    uri === undefined ? discoveredKeys(issuer, caller) : keysAt(uri, caller, () => shownTo(ownToken));
  const keys = new FetchedKeys(source, given);
  return {
    async judge(token, _claims, o) {
      const expected = { issuer, audiences, clockSkew };
      const { claims, expiresAt } = await verifyToken(token, keys, expected, given.clock, o);
      return { account: accountOfClaims(claims), expiresAt };
    },
    close: () => keys.close(),
  };
}

async function shownTo(ownToken: SecretReader | undefined): Promise<Readonly<Record<string, string>>> {
  return ownToken === undefined ? {} : { authorization: `Bearer ${(await ownToken()).reveal()}` };
}

async function openReview(
  { server, token: source }: NonNullable<Settings['review']>,
  { audiences }: Settings,
  caller: HttpCaller,
  given: Given,
): Promise<Judge> {
  const reviewer = new TokenReviewer(server, caller, await openSecret(source, given));
  return {
    async judge(token, { exp }, o) {
      const account = accountOfUser(await reviewer.review(token, audiences, o));
      // The API server does not tell the end, which is in what it has just verified.
      return { account, expiresAt: typeof exp === 'number' && Number.isFinite(exp) ? exp * 1000 : undefined };
    },
    close: async () => {},
  };
}

type Given = Parameters<typeof openSecret>[1] & { readonly clock: Clock };

export const driver = defineDriver({
  apiVersion: 1,
  kind: 'verifier',
  type: 'kubernetes',
  config,
  async open(settings: Settings, given): Promise<Verifier> {
    const caller = await HttpCaller.open(settings, given.baseDirectory);
    const { review } = settings;
    try {
      const judge = await (review === undefined
        ? openDiscovery(settings, caller, given)
        : openReview(review, settings, caller, given));
      const close = async () => {
        await judge.close();
        await caller.close();
      };
      return new KubernetesVerifier(given.id, settings, { judge: judge.judge, close }, given.clock);
    } catch (error) {
      await caller.close();
      throw error;
    }
  },
});
