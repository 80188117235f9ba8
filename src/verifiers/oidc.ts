import { resolve } from 'node:path';
import { z } from 'zod';
import { defineDriver } from '../contracts/driver.js';
import type {
  CallOptions,
  ClientCredentials,
  Clock,
  Log,
  OpenIdProvider,
  Principal,
  Verifier,
} from '../contracts/index.js';
import { secretIn } from '../contracts/verifier.js';
import { RegistryError } from '../errors.js';
import { HttpCaller } from '../outgoing/http-caller.js';
import { unverifiedClaims } from '../protocol/jwt-form.js';
import { duration } from '../settings/duration.js';
import { readableFile } from '../settings/file-path.js';
import { issuerUrl, secureUrl } from '../settings/secure-url.js';
import { serverKeys } from '../settings/server-keys.js';
import { type Claims, textsOf } from './claims/claim-path.js';
import { claimKeys, principalOfClaims } from './claims/principal-of-claims.js';
import { FileKeys } from './openid/file-keys.js';
import { FetchedKeys, type IssuerKeys } from './openid/issuer-keys.js';
import { discoveredKeys, keysAt } from './openid/key-source.js';
import { OtherAudiences } from './openid/other-audiences.js';
import { Seldom } from './openid/seldom.js';
import { verifyToken } from './openid/verify-token.js';

/** Whoever has an account there gets tokens of these issuers, for any audience (threat 4). */
const sharedIssuers = [
  'https://accounts.google.com',
  'https://agent.buildkite.com',
  'https://app.terraform.io',
  'https://gitlab.com',
  'https://token.actions.githubusercontent.com',
];

const expectedTrustDomain = 'expected a SPIFFE trust domain without a scheme, such as example.org';

const config = z
  .strictObject({
    issuer: issuerUrl()
      .optional()
      .describe(
        'Whose tokens count: `iss` in them, character by character. Its keys are found by discovery.',
      ),
    trustDomain: z
      .string({ error: expectedTrustDomain })
      .regex(/^[a-z0-9._-]{1,255}$/, expectedTrustDomain)
      .optional()
      .describe(
        'For SPIFFE JWT-SVIDs: only workloads of this trust domain count. Together with `jwksUri` or `jwksFile` it stands in for `issuer`, for JWT-SVIDs need not name one.',
      ),
    audiences: z
      .array(z.string().min(1))
      .min(1)
      .describe(
        'Whom tokens must be for: one of these must be in `aud`. Choose a name that nothing else accepts.',
      ),
    authorizedParties: z
      .array(z.string().min(1))
      .default([])
      .describe(
        'Clients (`azp`) that a token with several audiences may have been made for, beside `audiences`.',
      ),
    jwksUri: secureUrl().optional().describe('Where the keys are, where there is no discovery.'),
    jwksFile: readableFile()
      .optional()
      .describe(
        'A JSON Web Key Set or SPIFFE bundle, where the issuer cannot be asked; read again when it changes.',
      ),
    ...claimKeys,
    clockSkew: duration({ max: '5m' })
      .prefault('60s')
      .describe('How much the issuer’s clock may differ from ours.'),
    maxAge: duration({ min: '1s' })
      .optional()
      .describe('Tokens that were issued longer ago are refused, even where they have not expired.'),
    ...serverKeys,
  })
  .refine(({ issuer, trustDomain }) => issuer !== undefined || trustDomain !== undefined, {
    path: ['issuer'],
    error: 'is missing: without it the tokens of everybody would count',
  })
  .refine((one) => one.issuer !== undefined || one.jwksUri !== undefined || one.jwksFile !== undefined, {
    path: ['jwksUri'],
    error: 'is missing: without `issuer` the keys cannot be discovered; give jwksUri or jwksFile',
  })
  .refine(({ jwksUri, jwksFile }) => jwksUri === undefined || jwksFile === undefined, {
    path: ['jwksFile'],
    error: 'cannot stand beside jwksUri: the keys come from one place',
  })
  .refine((one) => !isShared(one.issuer) || Object.keys(one.requiredClaims).length > 0, {
    path: ['requiredClaims'],
    error: 'is missing: everybody can get tokens of this issuer; say whose count',
  });

type Settings = z.output<typeof config>;

function isShared(issuer: string | undefined): boolean {
  return issuer !== undefined && sharedIssuers.includes(issuer);
}

/** Milliseconds between two lines about tokens of an issuer that is nearly ours. */
const notePause = 60_000;

interface Parts {
  readonly id: string;
  readonly keys: IssuerKeys;
  readonly caller: HttpCaller;
  readonly clock: Clock;
  readonly log: Log;
}

/**
 * Takes signed tokens of one issuer: ID tokens (OpenID Connect Core 1.0), access tokens in JWT form (RFC 9068),
 * JWT-SVIDs of SPIFFE. They are shown as a bearer token, or as the password of any user.
 */
class OidcVerifier implements Verifier {
  readonly openIdProvider?: OpenIdProvider;
  readonly #settings: Settings;
  readonly #parts: Parts;
  readonly #notes: Seldom;
  readonly #others: OtherAudiences;

  constructor(settings: Settings, parts: Parts) {
    this.#settings = settings;
    this.#parts = parts;
    const { id, clock, log } = parts;
    const { issuer, audiences } = settings;
    this.#notes = new Seldom(clock, notePause);
    const given = { id, clock, log, expected: audiences };
    this.#others = new OtherAudiences('a token of this issuer is for other audiences', given);
    if (issuer !== undefined) this.openIdProvider = { issuer, audiences, fetch: parts.caller.fetch };
  }

  get givesGroups(): boolean {
    return this.#settings.groupsClaim !== undefined;
  }

  recognises({ shown }: ClientCredentials): boolean {
    const claims = claimsIn(shown);
    return claims !== undefined && this.#isOfIssuer(claims) && this.#isForUs(claims);
  }

  async verify({ shown, connection }: ClientCredentials, o: CallOptions): Promise<Principal | undefined> {
    o.signal.throwIfAborted();
    const shownClaims = claimsIn(shown);
    if (shownClaims === undefined) return undefined;
    if (!this.#isOfIssuer(shownClaims)) return this.#noteIssuer(shownClaims);
    // Another verifier may have the same issuer with another audience.
    if (!this.#isForUs(shownClaims)) {
      this.#others.note(textsOf(shownClaims.aud), connection.address);
      return undefined;
    }
    const { id, keys, clock } = this.#parts;
    const { issuer, audiences, clockSkew, maxAge, trustDomain } = this.#settings;
    const { claims, expiresAt } = await verifyToken(
      secretIn(shown)?.reveal() ?? '',
      keys,
      {
        audiences,
        clockSkew,
        ...(issuer !== undefined && { issuer }),
        ...(maxAge !== undefined && { maxAge }),
      },
      clock,
      o,
    );
    // Once more, of the bytes that were verified.
    if (!this.#isOfIssuer(claims)) throw refused('it is of another trust domain');
    this.#checkParty(claims);
    const kind = this.#settings.kind ?? (trustDomain === undefined ? 'human' : 'machine');
    return principalOfClaims(claims, { ...this.#settings, kind }, id, expiresAt);
  }

  async close(): Promise<void> {
    await this.#parts.keys.close();
    await this.#parts.caller.close();
  }

  #isOfIssuer({ iss, sub }: Claims): boolean {
    const { issuer, trustDomain } = this.#settings;
    if (issuer !== undefined && iss !== issuer) return false;
    if (trustDomain === undefined) return true;
    return typeof sub === 'string' && sub.startsWith(`spiffe://${trustDomain}/`);
  }

  #isForUs({ aud }: Claims): boolean {
    return textsOf(aud).some((one) => this.#settings.audiences.includes(one));
  }

  /**
   * A token for several audiences is in the hands of each of them. OpenID Connect Core section 3.1.3.7 has its `azp`
   * checked; one without `azp` names nobody to check.
   *
   * @throws RegistryError UNAUTHORIZED
   */
  #checkParty({ aud, azp }: Claims): void {
    if (azp === undefined || textsOf(aud).length < 2) return;
    const { audiences, authorizedParties } = this.#settings;
    if (typeof azp === 'string' && (audiences.includes(azp) || authorizedParties.includes(azp))) return;
    throw refused(
      `it is for several audiences, and was made for the client ${shortened(azp)} (azp): is it one of authorizedParties?`,
    );
  }

  /** The one mistake that is hard to see. */
  #noteIssuer({ iss }: Claims): undefined {
    const { issuer } = this.#settings;
    if (typeof iss !== 'string' || issuer === undefined || withoutSlash(iss) !== withoutSlash(issuer)) return;
    const { id, log } = this.#parts;
    this.#notes.run(() =>
      log.info(
        { id, issuer: iss, expected: issuer },
        'a token’s issuer differs by a slash from the configured one',
      ),
    );
  }
}

function claimsIn(shown: ClientCredentials['shown']): Claims | undefined {
  return unverifiedClaims(secretIn(shown)?.reveal() ?? '');
}

function withoutSlash(url: string): string {
  return url.replace(/\/$/, '');
}

/** For a log: what a client wrote has any length. */
function shortened(value: unknown): string {
  return typeof value === 'string' ? JSON.stringify(value.slice(0, 100)).slice(1, -1) : typeof value;
}

function refused(what: string): RegistryError {
  return new RegistryError('UNAUTHORIZED', { reason: `a token is refused: ${what}` });
}

export const driver = defineDriver({
  apiVersion: 1,
  kind: 'verifier',
  type: 'oidc',
  config,
  async open(settings: Settings, { id, baseDirectory, clock, log }) {
    const { issuer, jwksUri, jwksFile } = settings;
    const given = { id, clock, log };
    const fileKeys = jwksFile && (await FileKeys.open(resolve(baseDirectory, jwksFile.text), given));
    const caller = await HttpCaller.open(settings, baseDirectory);
    if (fileKeys !== undefined) return new OidcVerifier(settings, { ...given, caller, keys: fileKeys });
    const source = jwksUri === undefined ? discoveredKeys(issuer ?? '', caller) : keysAt(jwksUri, caller);
    return new OidcVerifier(settings, { ...given, caller, keys: new FetchedKeys(source, given) });
  },
});
