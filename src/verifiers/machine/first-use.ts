import { createHash } from 'node:crypto';
import type { CallOptions, ClientCredentials, StateStore } from '../../contracts/index.js';
import { clientNetwork } from '../../decorators/client-network.js';
import { RegistryError } from '../../errors.js';
import { parseJsonObject } from '../../protocol/json-object.js';
import { LiveBindings } from './live-bindings.js';
import { refused } from './shown-proof.js';

/** Where all bindings stand in the state; then the verifier's id, a slash and the subject. */
export const bindingsPrefix = 'first-use/';
/** How the subjects of proofs begin; machines have others. */
export const proofsPrefix = 'proof/';
/** What can be bound: printable ASCII without spaces. */
export const subjectGrammar = /^[\x21-\x7e]{1,400}$/;

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

/** A proof that is good for minutes or hours. */
export interface Proof {
  /** Of what is signed, by `digestOf`: two spellings of one proof have the same. */
  readonly digest: string;
  /** Whose it is, for messages: `the instance builder-1 of the project acme`. */
  readonly who: string;
  /** Milliseconds since the epoch. */
  readonly endsAt: number;
  /** Who signs it, where they can make any number: they have so many bound at the same time, and no more. */
  readonly owner?: string;
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
  readonly #live = new LiveBindings();

  /** @param id the verifier's: two of them share no binding */
  constructor(id: string, state: StateStore) {
    this.#id = id;
    this.#state = state;
  }

  /**
   * Binds a machine for as long as it is used.
   *
   * @param subject printable ASCII without spaces, at most 400 characters: what is bound
   * @throws RegistryError UNAUTHORIZED where somebody else was first; UNAVAILABLE where the state cannot tell; what
   *   `mayBeFirst` throws
   */
  async bind(subject: string, holder: Holder, call: BindCall): Promise<void> {
    await this.#bind(subject, holder, call, (first) =>
      refused(`${subject} ${first}; \`docker-registry-proxy bindings forget\` frees it`),
    );
  }

  /**
   * Binds a proof to the address that shows it, until it ends.
   *
   * @throws RegistryError as `bind`; TOOMANYREQUESTS where the owner has too many
   */
  async bindProof(
    { digest, who, endsAt, owner }: Proof,
    credentials: ClientCredentials,
    { now, signal }: Pick<BindCall, 'now' | 'signal'>,
  ): Promise<void> {
    const ttl = Math.max(1, endsAt - now);
    const call = { ttl, now, signal, ...(owner !== undefined && { owner }) };
    await this.#bind(`${proofsPrefix}${digest}`, holderByAddress(credentials), call, (first) =>
      refused(`the proof of ${who} ${first}; its next proof is bound anew`),
    );
  }

  async #bind(
    subject: string,
    holder: Holder,
    call: BindCall & Pick<Proof, 'owner'>,
    refusal: (first: string) => RegistryError,
  ): Promise<void> {
    const { signal, ttl, now, mayBeFirst, owner } = call;
    const key = `${bindingsPrefix}${this.#id}/${subject}`;
    for (let i = 0; i < attempts; i++) {
      const entry = await this.#state.get(key, { signal });
      if (entry === undefined) {
        mayBeFirst?.();
        if (owner !== undefined) this.#live.requirePlace(owner, now);
        const value = JSON.stringify({ holder, since: now } satisfies Binding);
        if (!(await this.#state.compareAndSet(key, undefined, value, { signal, ttl }))) continue;
        if (owner !== undefined) this.#live.add(owner, now + ttl);
        return;
      }
      const known = parseBinding(entry.value);
      if (known === undefined)
        throw new RegistryError('UNAVAILABLE', { reason: `the state of ${key} is damaged` });
      if (!isSame(known.holder, holder)) throw refusal(toldFirst(known, holder));
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

function isSame(one: Holder, other: Holder): boolean {
  return one.kind === other.kind && one.value === other.value;
}

function toldFirst({ holder: first, since }: Binding, holder: Holder): string {
  const when = new Date(since).toISOString();
  const by = first.kind === 'nonce' ? 'a nonce' : first.value;
  const now = holder.kind === 'nonce' ? 'another nonce' : holder.value;
  return `was bound to ${by} at its first use (${when}), and is now shown by ${now}`;
}
