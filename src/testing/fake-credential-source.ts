import type { CallOptions } from '../contracts/call-options.js';
import type { Credential, CredentialSource, CredentialTarget } from '../contracts/credential-source.js';
import { RegistryError } from '../errors.js';
import { Secret } from '../secret.js';

/** Gives the first of a list of credentials; the next one when that was rejected. None when the list is used up. */
export class FakeCredentialSource implements CredentialSource {
  readonly credentials: Credential[];
  /** What it was asked, in order. */
  readonly asked: { readonly target: CredentialTarget; readonly rejected?: Credential }[] = [];
  /** True: it answers UNAVAILABLE. */
  broken = false;
  closed = false;
  readonly #has: (target: CredentialTarget) => boolean;

  /** @param has for which repositories there is a credential; for all where it is missing */
  constructor(
    credentials: readonly Credential[] = [],
    has: (target: CredentialTarget) => boolean = () => true,
  ) {
    this.credentials = [...credentials];
    this.#has = has;
  }

  async credentialFor(
    target: CredentialTarget,
    o: CallOptions & { readonly rejected?: Credential },
  ): Promise<Credential | undefined> {
    o.signal.throwIfAborted();
    this.asked.push({ target, ...(o.rejected && { rejected: o.rejected }) });
    if (this.broken) throw new RegistryError('UNAVAILABLE', { reason: 'the credential source is broken' });
    if (!this.#has(target)) return undefined;
    if (o.rejected !== undefined && o.rejected === this.credentials[0]) this.credentials.shift();
    return this.credentials[0];
  }

  async close(): Promise<void> {
    this.closed = true;
  }
}

export function basicCredential(username: string, password: string, expiresAt?: number): Credential {
  return {
    kind: 'basic',
    username,
    password: new Secret(password),
    ...(expiresAt !== undefined && { expiresAt }),
  };
}
