import type { CallOptions, Credential, CredentialSource, CredentialTarget } from '../contracts/index.js';

const maxNames = 64;

/** A credential source that remembers the user names it gave, so that no message to a client repeats one. */
export class ShownUserNames implements CredentialSource {
  readonly #inner: CredentialSource;
  readonly #names = new Set<string>();

  constructor(inner: CredentialSource) {
    this.#inner = inner;
  }

  /** The last ones; a source has few. */
  get names(): readonly string[] {
    return [...this.#names];
  }

  async credentialFor(
    target: CredentialTarget,
    o: CallOptions & { readonly rejected?: Credential },
  ): Promise<Credential | undefined> {
    const credential = await this.#inner.credentialFor(target, o);
    if (credential?.kind === 'basic') this.#remember(credential.username);
    return credential;
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

  #remember(name: string): void {
    this.#names.delete(name);
    this.#names.add(name);
    const [oldest] = this.#names;
    if (this.#names.size > maxNames && oldest !== undefined) this.#names.delete(oldest);
  }
}
