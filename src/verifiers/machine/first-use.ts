import { createHash } from 'node:crypto';
import type { CallOptions, ClientCredentials, StateStore } from '../../contracts/index.js';
import { clientNetwork } from '../../decorators/client-network.js';
import { RegistryError } from '../../errors.js';
import { parseJsonObject } from '../../protocol/json-object.js';
import { refused } from './shown-proof.js';

/** Where all bindings stand in the state; then the verifier's id, a slash and the subject. */
export const bindingsPrefix = 'first-use/';

/** Who showed something first. */
export interface Holder {
  readonly kind: 'address' | 'nonce';
  /** For an IPv6 address its /64; of a nonce the SHA-256, in hex. */
  readonly value: string;
}

/** What is bound, and to whom. */
export interface Binding {
  readonly holder: Holder;
  /** Milliseconds since the epoch. */
  readonly since: number;
}

export function holderByAddress({ connection }: ClientCredentials): Holder {
  return { kind: 'address', value: clientNetwork(connection.address) };
}

export function holderByNonce(nonce: string): Holder {
  return { kind: 'nonce', value: createHash('sha256').update(nonce).digest('hex') };
}

/** For a subject: of a proof that is good for a while, without the proof itself. */
export function digestOf(proof: string): string {
  return createHash('sha256').update(proof).digest('base64url');
}

export interface BindCall extends CallOptions {
  /** Milliseconds without use, after which it is bound no more. */
  readonly ttl: number;
  /** Milliseconds since the epoch. */
  readonly now: number;
  /** Called before a first binding; what it throws prevents that. */
  readonly mayBeFirst?: () => void;
}

/** Changes of one binding at the same moment that are waited for: the first use of a machine that pulls ten images. */
const attempts = 10;

/**
 * Binds what a machine shows to who showed it first, so that whoever gets hold of it later cannot use it from elsewhere
 * (threat 20). Clients show the same password once per scope and for each retry: it is bound, and not used up.
 */
export class FirstUse {
  readonly #id: string;
  readonly #state: StateStore;

  /** @param id the verifier's: two of them share no binding */
  constructor(id: string, state: StateStore) {
    this.#id = id;
    this.#state = state;
  }

  /**
   * @param subject printable ASCII without spaces, at most 400 characters: what is bound
   * @throws RegistryError UNAUTHORIZED where somebody else was first; UNAVAILABLE where the state cannot tell; what
   *   `mayBeFirst` throws
   */
  async bind(subject: string, holder: Holder, call: BindCall): Promise<void> {
    const { signal, ttl, now, mayBeFirst } = call;
    const key = `${bindingsPrefix}${this.#id}/${subject}`;
    for (let i = 0; i < attempts; i++) {
      const entry = await this.#state.get(key, { signal });
      if (entry === undefined) {
        mayBeFirst?.();
        const value = JSON.stringify({ holder, since: now } satisfies Binding);
        if (await this.#state.compareAndSet(key, undefined, value, { signal, ttl })) return;
        continue;
      }
      const known = parseBinding(entry.value);
      if (known === undefined)
        throw new RegistryError('UNAVAILABLE', { reason: `the state of ${key} is damaged` });
      requireSame(subject, known, holder);
      // Not with each use: a login need not wait for a disk.
      const isFresh = entry.expiresAt === undefined || entry.expiresAt - now > ttl * 0.9;
      if (isFresh || (await this.#state.compareAndSet(key, entry.version, entry.value, { signal, ttl })))
        return;
    }
    throw new RegistryError('UNAVAILABLE', { reason: `the binding of ${subject} changes all the time` });
  }
}

/** @returns undefined where it is none */
export function parseBinding(text: string): Binding | undefined {
  const { holder, since } = parseJsonObject(text) ?? {};
  if (typeof holder !== 'object' || holder === null || typeof since !== 'number') return undefined;
  const { kind, value } = holder as Readonly<Record<string, unknown>>;
  if ((kind !== 'address' && kind !== 'nonce') || typeof value !== 'string') return undefined;
  return { holder: { kind, value }, since };
}

function requireSame(subject: string, { holder: first, since }: Binding, holder: Holder): void {
  if (first.kind === holder.kind && first.value === holder.value) return;
  const when = new Date(since).toISOString();
  const by = first.kind === 'nonce' ? 'a nonce' : first.value;
  const now = holder.kind === 'nonce' ? 'another nonce' : holder.value;
  throw refused(
    `${subject} was bound to ${by} at its first use (${when}), and is now shown by ${now}; ` +
      '`docker-registry-proxy bindings forget` frees it',
  );
}
