import type { RegistryHost } from '../reference/registry-host.js';
import type { RepositoryName } from '../reference/repository-name.js';
import type { Secret } from '../secret.js';
import type { CallOptions, Closable } from './call-options.js';

/** What we show to a registry. */
export type Credential = (
  | {
      readonly kind: 'basic';
      readonly username: string;
      readonly password: Secret;
      /** The user name stands in the configuration as it is. Of any other nobody knows whether it is a token. */
      readonly isConfigured?: true;
    }
  /** An OAuth2 refresh token, exchanged at the registry's token endpoint: docker's `identitytoken`. */
  | { readonly kind: 'identity-token'; readonly token: Secret }
  /** Sent as it is: docker's `registrytoken`. */
  | { readonly kind: 'registry-token'; readonly token: Secret }
) & {
  /** Milliseconds since the epoch. It is not used afterwards. */
  readonly expiresAt?: number;
  /**
   * Milliseconds since the epoch: from when on another is asked for, while this one still serves. Where it is missing,
   * the half of what is left until `expiresAt`. A credential with neither is asked for each time.
   */
  readonly refreshAt?: number;
};

/** What a credential is wanted for. A `Repository` is one. */
export interface CredentialTarget {
  readonly registry: RegistryHost;
  /** Absent where the registry as a whole is meant: a ping, the catalogue. */
  readonly name?: RepositoryName;
}

/**
 * Produces what we show to someone else. Sharing, refreshing before the end and backing off are not its own: the program
 * wraps each source (`RefreshedCredentials`).
 */
export interface CredentialSource extends Closable {
  /**
   * @param o.rejected what the registry refused: the source must not give the same again from a cache
   * @param o.isAwaited false where nobody waits for it any more: what has not begun, because others are before it, need
   *   not begin (`NotAwaited`)
   * @returns undefined where it has none for this target: go on without
   * @throws RegistryError UNAVAILABLE where there should be one and it cannot be had now
   */
  credentialFor(
    target: CredentialTarget,
    o: CallOptions & { readonly rejected?: Credential; readonly isAwaited?: () => boolean },
  ): Promise<Credential | undefined>;

  /** The registry let us in with a credential that it had refused before. Of interest to who counts and to who chooses. */
  accepted?(credential: Credential): void;

  /** Targets with the same key get the same credential. Without this method each repository has one of its own. */
  keyFor?(target: CredentialTarget): string;

  /**
   * A push found no such repository. Makes it, where the registry wants that and the configuration allows it.
   *
   * @returns true where it is there now; false where it is not for this source to make
   * @throws RegistryError UNAVAILABLE, DENIED with a reason where we may not, TOOMANYREQUESTS where many were made lately
   */
  createRepository?(target: Required<CredentialTarget>, o: CallOptions): Promise<boolean>;
}
