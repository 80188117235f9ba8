import type {
  AttributeValue,
  CallOptions,
  ClientCredentials,
  OpenIdProvider,
  Principal,
  Verifier,
} from '../contracts/index.js';
import { errorTable, RegistryError } from '../errors.js';

/** Bytes of a name: it stands in rules, logs and state. The longest that are in use are SPIFFE ids. */
const maxName = 2048;
const maxCredentialVersion = 64;
const kinds: readonly unknown[] = ['human', 'machine', 'anonymous'] satisfies Principal['kind'][];

/**
 * Believes a verifier only what its contract allows: code that no compiler has checked may answer anything. A principal
 * is this verifier's, whatever it says itself (threat 23); a malformed one is UNAVAILABLE and never half believed. Its errors
 * say that they are this verifier's, for log and audit.
 */
export class CheckedVerifier implements Verifier {
  readonly #inner: Verifier;
  readonly #id: string;
  readonly recheck?: NonNullable<Verifier['recheck']>;
  readonly openIdProvider?: OpenIdProvider;

  /** @param id the configured one */
  constructor(inner: Verifier, id: string) {
    this.#inner = inner;
    this.#id = id;
    if (inner.recheck) this.recheck = (known, o) => this.#recheck(known, o);
    if (inner.openIdProvider) this.openIdProvider = inner.openIdProvider;
  }

  async verify(credentials: ClientCredentials, o: CallOptions): Promise<Principal | undefined> {
    return this.#checked(await this.#answerOf(() => this.#inner.verify(credentials, o)));
  }

  recognises(credentials: ClientCredentials): boolean {
    return this.#inner.recognises?.(credentials) === true;
  }

  close(): Promise<void> {
    return this.#inner.close();
  }

  async #recheck(known: Principal, o: CallOptions): Promise<Principal | undefined> {
    const found = this.#checked(await this.#answerOf(() => this.#inner.recheck?.(known, o)));
    if (found !== undefined && found.name !== known.name) throw this.#malformed('it has another name');
    return found;
  }

  async #answerOf(call: () => unknown): Promise<unknown> {
    try {
      return await call();
    } catch (error) {
      const own = ownError(error);
      throw own instanceof RegistryError ? own.ofVerifier(this.#id) : own;
    }
  }

  #checked(answer: unknown): Principal | undefined {
    if (answer === undefined) return undefined;
    try {
      return principalFrom(answer, this.#id);
    } catch (error) {
      throw this.#malformed(error instanceof Malformed ? error.message : 'it cannot be read');
    }
  }

  #malformed(what: string): RegistryError {
    return new RegistryError('UNAVAILABLE', {
      reason: `it gave a principal that is none: ${what}`,
      verifier: this.#id,
    });
  }
}

class Malformed extends Error {}

/** Read once into values of our own: what was checked is what is used. */
function principalFrom(answer: unknown, verifier: string): Principal {
  if (typeof answer !== 'object' || answer === null) {
    throw new Malformed(`it is ${answer === null ? 'null' : `a ${typeof answer}`}; 'not mine' is undefined`);
  }
  const { name, kind, groups, attributes, expiresAt, credentialVersion } = answer as Record<string, unknown>;
  return {
    verifier,
    name: nameFrom(name),
    kind: kindFrom(kind),
    groups: groupsFrom(groups),
    attributes: attributesFrom(attributes),
    ...(expiresAt !== undefined && { expiresAt: timeFrom(expiresAt) }),
    ...(credentialVersion !== undefined && { credentialVersion: versionFrom(credentialVersion) }),
  };
}

function nameFrom(name: unknown): string {
  if (typeof name !== 'string' || name === '') throw new Malformed('its name is not a text, or empty');
  if (Buffer.byteLength(name) > maxName) throw new Malformed(`its name has over ${maxName} bytes`);
  if (/[\p{Cc}\p{Cs}]/u.test(name)) throw new Malformed('its name holds control characters');
  return name;
}

function kindFrom(kind: unknown): Principal['kind'] {
  if (!kinds.includes(kind)) throw new Malformed(`its kind is none of ${kinds.join(', ')}`);
  return kind as Principal['kind'];
}

function groupsFrom(groups: unknown): readonly string[] {
  const copy = textsFrom(groups);
  if (copy === undefined || copy.includes('')) throw new Malformed('its groups are not a list of texts');
  return copy;
}

function attributesFrom(attributes: unknown): Principal['attributes'] {
  if (typeof attributes !== 'object' || attributes === null || Array.isArray(attributes)) {
    throw new Malformed('its attributes are not a mapping');
  }
  return Object.fromEntries(
    Object.entries(attributes).map(([name, value]) => [name, attributeFrom(name, value)]),
  );
}

function attributeFrom(name: string, value: unknown): AttributeValue {
  const isPlain =
    typeof value === 'string' ||
    typeof value === 'boolean' ||
    (typeof value === 'number' && Number.isFinite(value));
  const allowed = isPlain ? value : textsFrom(value);
  if (allowed === undefined) {
    throw new Malformed(
      `its attribute ${name.slice(0, 64)} is not a text, a number, true or false, or a list of texts`,
    );
  }
  return allowed;
}

function textsFrom(value: unknown): readonly string[] | undefined {
  const copy: readonly unknown[] | undefined = Array.isArray(value) ? [...value] : undefined;
  return copy?.every((one) => typeof one === 'string') ? copy : undefined;
}

function timeFrom(value: unknown): number {
  if (typeof value !== 'number' || !Number.isFinite(value)) {
    throw new Malformed('its expiresAt is not a number of milliseconds');
  }
  return value;
}

function versionFrom(value: unknown): string {
  if (typeof value !== 'string' || value.length > maxCredentialVersion) {
    throw new Malformed(`its credentialVersion is not a text of at most ${maxCredentialVersion} characters`);
  }
  return value;
}

/**
 * A plugin may have found another copy of this package: its errors mean what ours do. Anything else is a bug, and stays
 * one.
 */
function ownError(error: unknown): unknown {
  if (error instanceof RegistryError || !(error instanceof Error) || error.name !== 'RegistryError') {
    return error;
  }
  const { code, reason, retryAfter, knownUser, countsAsGuess, isProof } = error as Partial<RegistryError>;
  if (typeof code !== 'string' || !Object.hasOwn(errorTable, code)) return error;
  return new RegistryError(code, {
    cause: error,
    ...(typeof reason === 'string' && { reason }),
    ...(typeof retryAfter === 'number' && { retryAfter }),
    knownUser: knownUser === true,
    countsAsGuess: countsAsGuess === true,
    isProof: isProof === true,
  });
}
