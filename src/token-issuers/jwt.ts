import { randomUUID } from 'node:crypto';
import { resolve } from 'node:path';
import { errors, type JWTPayload, jwtVerify, SignJWT } from 'jose';
import { z } from 'zod';
import { defineDriver } from '../contracts/driver.js';
import {
  type Access,
  type CallOptions,
  type Clock,
  type IssuedToken,
  type Log,
  type Principal,
  type PublicKeys,
  qualifiedName,
  type TokenIssuer,
} from '../contracts/index.js';
import { RegistryError } from '../errors.js';
import { isRepositoryName } from '../reference/repository-name.js';
import { actions, normalizeActions, type Scope } from '../reference/scope.js';
import { Secret } from '../secret.js';
import { duration } from '../settings/duration.js';
import { milliseconds } from '../settings/duration-text.js';
import { ownDirectory, readableFile } from '../settings/file-path.js';
import { openEphemeralKeys } from './ephemeral-keys.js';
import { GeneratedKeys } from './generated-keys.js';
import type { KeySet } from './key-set.js';
import { OpenedTokens } from './opened-tokens.js';
import { derivedKey, type SigningKey } from './signing-key.js';
import { openSuppliedKeys } from './supplied-keys.js';

/** Seconds that clocks of replicas may differ. */
const clockTolerance = 10;
/** Characters: half of what the listener takes for all headers of a request. */
const maxTokenLength = 16_384;

const accessSchema = z.array(
  z.object({ type: z.string(), name: z.string(), actions: z.array(z.enum(actions)) }),
);
const principalSchema = z.object({
  verifier: z.string(),
  name: z.string(),
  kind: z.enum(['human', 'machine', 'anonymous']),
  groups: z.array(z.string()),
  attributes: z.record(z.string(), z.union([z.string(), z.number(), z.boolean(), z.array(z.string())])),
});

/**
 * Registry tokens as distribution's `docs/content/spec/auth/jwt.md` describes them, so that another registry may trust
 * this token server; with the principal in a claim of its own.
 */
class JwtIssuer implements TokenIssuer {
  readonly #issuer: string;
  readonly #ttl: number;
  readonly #keys: KeySet;
  readonly #clock: Clock;
  readonly #opened: OpenedTokens;

  constructor(issuer: string, ttl: number, keys: KeySet, clock: Clock) {
    this.#issuer = issuer;
    this.#ttl = ttl;
    this.#keys = keys;
    this.#clock = clock;
    this.#opened = new OpenedTokens(clock);
  }

  async issue(
    who: Principal,
    granted: readonly Scope[],
    o: CallOptions & { readonly service: string },
  ): Promise<IssuedToken> {
    o.signal.throwIfAborted();
    const now = this.#clock.now();
    const expiresAt = Math.min(now + this.#ttl, who.expiresAt ?? Number.POSITIVE_INFINITY);
    if (expiresAt <= now) throw new RegistryError('UNAUTHORIZED', { reason: 'the principal has expired' });
    const key = this.#keys.signing();
    // Field by field: nothing that a principal gains later gets into tokens by itself.
    const { verifier, name, kind, groups, attributes } = who;
    const principal = { verifier, name, kind, groups, attributes };
    const token = await new SignJWT({ access: granted, principal })
      .setProtectedHeader({
        typ: 'JWT',
        alg: key.algorithm,
        kid: key.kid,
        ...(key.x5c.length > 0 && { x5c: [...key.x5c] }),
      })
      .setIssuer(this.#issuer)
      .setSubject(who.kind === 'anonymous' ? '' : qualifiedName(who))
      .setAudience(o.service)
      .setIssuedAt(Math.floor(now / 1000))
      .setNotBefore(Math.floor(now / 1000) - clockTolerance)
      .setExpirationTime(Math.floor(expiresAt / 1000))
      .setJti(randomUUID())
      .sign(key.privateKey);
    if (token.length > maxTokenLength) {
      throw new RegistryError('DENIED', {
        message: 'too many scopes',
        reason: `the token would have ${token.length} characters, over ${maxTokenLength}: too many or too long scopes or groups`,
      });
    }
    // Clients take less than 60 s for 60 s. Where the principal ends sooner the token does, and is refused then.
    const expiresIn = Math.max(60, Math.floor((expiresAt - now) / 1000));
    return { token: new Secret(token), issuedAt: now, expiresIn };
  }

  async open(token: Secret, o: CallOptions & { readonly service: string }): Promise<Access> {
    o.signal.throwIfAborted();
    const text = token.reveal();
    const known = this.#opened.find(text, o.service, this.#keys.published());
    if (known !== undefined) return known;
    try {
      const { payload, key } = await this.#verify(text, o.service);
      const access = accessOf(payload);
      this.#opened.add(text, o.service, { access, key, notBefore: (payload.nbf ?? 0) * 1000 });
      return access;
    } catch (error) {
      const reason = error instanceof errors.JOSEError ? error.code : 'not one of our tokens';
      throw new RegistryError('UNAUTHORIZED', { bearerError: 'invalid_token', reason, cause: error });
    }
  }

  publicKeys(): PublicKeys {
    return {
      jwks: { keys: this.#keys.published().map((key) => ({ ...key.jwk })) },
      certificates: this.#keys
        .authorities()
        .map((certificate) => certificate.toString())
        .join(''),
    };
  }

  derivedKeys(purpose: string): readonly Uint8Array[] {
    const signing = this.#keys.signing();
    const others = this.#keys.published().filter(({ kid }) => kid !== signing.kid);
    return [signing, ...others].map((key) => derivedKey(key, purpose));
  }

  close(): Promise<void> {
    return this.#keys.close();
  }

  /** Only our own keys count, found by `kid`: a key that a token brings along is never looked at (CVE-2025-24976). */
  async #verify(
    token: string,
    service: string,
  ): Promise<{ readonly payload: JWTPayload; readonly key: SigningKey }> {
    if (token.length > maxTokenLength) throw new Error('too long');
    const find = async (kid: string | undefined): Promise<SigningKey> => {
      const known = () => this.#keys.published().find((key) => key.kid === kid);
      if (known() === undefined) await this.#keys.lookAgain();
      const key = known();
      if (key === undefined) throw new errors.JWKSNoMatchingKey();
      return key;
    };
    let key: SigningKey | undefined;
    const { payload } = await jwtVerify(
      token,
      async (header) => {
        key = await find(header.kid);
        if (header.alg !== key.algorithm)
          throw new errors.JOSEAlgNotAllowed('another algorithm than the key’s');
        return key.publicKey;
      },
      {
        issuer: this.#issuer,
        audience: service,
        algorithms: [...new Set(this.#keys.published().map((key) => key.algorithm))],
        requiredClaims: ['exp', 'iat', 'jti', 'access', 'principal'],
        // No tolerance: `nbf` has it already, and no token may outlive its principal.
        currentDate: new Date(this.#clock.now()),
      },
    );
    if (key === undefined) throw new errors.JWKSNoMatchingKey();
    return { payload, key };
  }
}

function accessOf(payload: JWTPayload): Access {
  const grants = accessSchema.parse(payload.access).flatMap(({ type, name, actions: granted }): Scope[] => {
    if (type === 'repository' && isRepositoryName(name))
      return [{ type, name, actions: normalizeActions(granted) }];
    if (type === 'registry' && name === 'catalog')
      return [{ type, name, actions: normalizeActions(granted) }];
    return [];
  });
  const expiresAt = (payload.exp ?? 0) * 1000;
  return { principal: { ...principalSchema.parse(payload.principal), expiresAt }, grants, expiresAt };
}

const keysSchema = z.union(
  [
    z.strictObject({
      directory: ownDirectory().describe(
        'Keys are generated and rotated in this directory; replicas may share it',
      ),
      rotateEvery: duration({ min: '1d' }).default(milliseconds('90d')).describe('Time between two new keys'),
      overlap: duration({ min: '1h' })
        .default(milliseconds('7d'))
        .describe('How long a key is published before it signs, and after its last signature'),
    }),
    z.strictObject({
      files: z
        .array(readableFile())
        .min(1)
        .describe(
          'Supplied private keys (PEM, with their certificate chain if any): the first signs, all verify',
        ),
    }),
  ],
  { error: 'expected { directory: NAME } or { files: [NAME, …] }' },
);

function openKeys(
  keys: z.output<typeof keysSchema> | undefined,
  baseDirectory: string,
  clock: Clock,
  log: Log,
): Promise<KeySet> {
  if (keys === undefined) {
    log.warn(
      {},
      'token.keys is not set: tokens end with this process, and another process does not know them',
    );
    return openEphemeralKeys(clock);
  }
  if ('files' in keys) return openSuppliedKeys(keys.files.map((file) => resolve(baseDirectory, file.text)));
  const rotation = { every: keys.rotateEvery, overlap: keys.overlap };
  return GeneratedKeys.open(resolve(baseDirectory, keys.directory.text), rotation, clock, log);
}

export const driver = defineDriver({
  apiVersion: 1,
  kind: 'token-issuer',
  type: 'jwt',
  config: z
    .strictObject({
      ttl: duration({ min: '60s', max: '1h' })
        .default(milliseconds('5m'))
        .describe('Life of a token. Under 60 s clients would assume 60 s'),
      keys: keysSchema
        .optional()
        .describe(
          'The keys that sign tokens. Without this setting they are made anew at every start, for one process',
        ),
    })
    .refine(({ keys }) => keys === undefined || 'files' in keys || keys.overlap * 2 < keys.rotateEvery, {
      path: ['keys', 'overlap'],
      message: 'expected less than half of rotateEvery',
    }),
  async open({ ttl, keys }, { issuer, baseDirectory, clock, log }): Promise<TokenIssuer> {
    const opened = await openKeys(keys, baseDirectory, clock, log);
    return new JwtIssuer(issuer, ttl, opened, clock);
  },
});
