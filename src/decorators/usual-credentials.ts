import type { CallOptions, Credential, CredentialSource, CredentialTarget } from '../contracts/index.js';
import { RegistryError } from '../errors.js';

/**
 * A source that nobody configured: the registry's host chose its type. Where it fails it says so, for an operator who
 * only wants what is public there has never heard of it.
 */
export class UsualCredentials implements CredentialSource {
  readonly keyFor?: NonNullable<CredentialSource['keyFor']>;
  readonly #inner: CredentialSource;
  readonly #type: string;

  constructor(inner: CredentialSource, type: string) {
    this.#inner = inner;
    this.#type = type;
    if (inner.keyFor !== undefined) this.keyFor = inner.keyFor.bind(inner);
  }

  async credentialFor(
    target: CredentialTarget,
    o: CallOptions & { readonly rejected?: Credential },
  ): Promise<Credential | undefined> {
    try {
      return await this.#inner.credentialFor(target, o);
    } catch (error) {
      if (!(error instanceof RegistryError)) throw error;
      throw error.because(`credentials of type ${this.#type} were chosen for ${target.registry}`);
    }
  }

  accepted(credential: Credential): void {
    this.#inner.accepted?.(credential);
  }

  async createRepository(target: Required<CredentialTarget>, o: CallOptions): Promise<boolean> {
    return (await this.#inner.createRepository?.(target, o)) ?? false;
  }

  close(): Promise<void> {
    return this.#inner.close();
  }
}
