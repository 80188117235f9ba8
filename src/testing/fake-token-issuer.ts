import { hkdfSync, randomBytes } from 'node:crypto';
import type { CallOptions } from '../contracts/call-options.js';
import type { Clock } from '../contracts/clock.js';
import type { Principal } from '../contracts/principal.js';
import type { Access, IssuedToken, PublicKeys, TokenIssuer } from '../contracts/token-issuer.js';
import { RegistryError } from '../errors.js';
import type { Scope } from '../reference/scope.js';
import { Secret } from '../secret.js';
import { FakeClock } from './fake-clock.js';

/** Opaque tokens in a map. */
export class FakeTokenIssuer implements TokenIssuer {
  readonly clock: Clock;
  readonly #lifetime: number;
  readonly #tokens = new Map<string, Access & { readonly service: string }>();
  readonly #secret = randomBytes(32);
  closed = false;

  /** @param lifetime seconds */
  constructor(clock: Clock = new FakeClock(), lifetime = 300) {
    this.clock = clock;
    this.#lifetime = lifetime;
  }

  async issue(
    who: Principal,
    granted: readonly Scope[],
    o: CallOptions & { readonly service: string },
  ): Promise<IssuedToken> {
    o.signal.throwIfAborted();
    const now = this.clock.now();
    const left = ((who.expiresAt ?? Number.POSITIVE_INFINITY) - now) / 1000;
    if (left <= 0) throw new RegistryError('UNAUTHORIZED', { reason: 'the principal has expired' });
    const expiresIn = Math.max(60, Math.floor(Math.min(this.#lifetime, left)));
    const expiresAt = Math.min(now + expiresIn * 1000, who.expiresAt ?? Number.POSITIVE_INFINITY);
    const token = randomBytes(24).toString('base64url');
    this.#tokens.set(token, { principal: who, grants: granted, expiresAt, service: o.service });
    return { token: new Secret(token), issuedAt: now, expiresIn };
  }

  async open(token: Secret, o: CallOptions & { readonly service: string }): Promise<Access> {
    o.signal.throwIfAborted();
    const known = this.#tokens.get(token.reveal());
    if (!known || known.service !== o.service || known.expiresAt <= this.clock.now()) {
      throw new RegistryError('UNAUTHORIZED', { bearerError: 'invalid_token' });
    }
    const { principal, grants, expiresAt } = known;
    return { principal, grants, expiresAt };
  }

  publicKeys(): PublicKeys {
    return { jwks: { keys: [] }, certificates: '' };
  }

  derivedKeys(purpose: string): readonly Uint8Array[] {
    return [new Uint8Array(hkdfSync('sha256', this.#secret, '', purpose, 32))];
  }

  async close(): Promise<void> {
    this.closed = true;
  }
}
