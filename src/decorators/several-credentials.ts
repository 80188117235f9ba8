import type {
  CallOptions,
  Clock,
  Credential,
  CredentialSource,
  CredentialTarget,
  Log,
} from '../contracts/index.js';

export interface SeveralCredentialsSettings {
  readonly clock: Clock;
  readonly log: Log;
  /** The upstream's configured name. */
  readonly upstream: string;
}

/** Of several credentials for one upstream the first that is not refused. */
export class SeveralCredentials implements CredentialSource {
  readonly #sources: readonly CredentialSource[];

  /** @param sources at least one, the preferred one first */
  constructor(sources: readonly CredentialSource[], _settings: SeveralCredentialsSettings) {
    this.#sources = sources;
  }

  async credentialFor(
    target: CredentialTarget,
    o: CallOptions & { readonly rejected?: Credential },
  ): Promise<Credential | undefined> {
    return this.#sources[0]?.credentialFor(target, o);
  }

  async createRepository(target: Required<CredentialTarget>, o: CallOptions): Promise<boolean> {
    for (const source of this.#sources) {
      if (await source.createRepository?.(target, o)) return true;
    }
    return false;
  }

  async close(): Promise<void> {
    await Promise.all(this.#sources.map((source) => source.close()));
  }
}
