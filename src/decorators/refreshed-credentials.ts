import type {
  CallOptions,
  Clock,
  Credential,
  CredentialSource,
  CredentialTarget,
  Log,
  Metrics,
} from '../contracts/index.js';

export interface RefreshedCredentialsSettings {
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  /** The upstream's configured name, for labels and log lines. */
  readonly upstream: string;
  /** Its place among the credentials of the upstream, from 1. */
  readonly credential: number;
}

/** One source, asked once for all who wait, and again before what it gave ends. */
export class RefreshedCredentials implements CredentialSource {
  readonly #source: CredentialSource;

  constructor(source: CredentialSource, _settings: RefreshedCredentialsSettings) {
    this.#source = source;
  }

  /** Gets a credential now, and from now on before it is needed, whoever asks. Harmless when called again. */
  keepReady(_target: CredentialTarget): void {}

  credentialFor(
    target: CredentialTarget,
    o: CallOptions & { readonly rejected?: Credential },
  ): Promise<Credential | undefined> {
    return this.#source.credentialFor(target, o);
  }

  async createRepository(target: Required<CredentialTarget>, o: CallOptions): Promise<boolean> {
    return (await this.#source.createRepository?.(target, o)) ?? false;
  }

  close(): Promise<void> {
    return this.#source.close();
  }
}
