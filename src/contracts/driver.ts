import type { z } from 'zod';
import type { BlobStore } from './blob-store.js';
import type { Clock } from './clock.js';
import type { CredentialSource } from './credential-source.js';
import type { Log } from './log.js';
import type { Metrics } from './metrics.js';
import type { Policy } from './policy.js';
import type { NodeRuntime } from './runtime.js';
import type { StateStore } from './state-store.js';
import type { TokenIssuer } from './token-issuer.js';
import type { Upstream } from './upstream.js';
import type { Verifier } from './verifier.js';

/** The version of these contracts. A driver made for another one fails at start. */
export const driverApiVersion = 1;

/** What every driver is given. */
export interface DriverDependencies {
  /** Its name in the configuration: `corp`, `gcr`. */
  readonly id: string;
  /** Absolute; relative file names in the configuration count from here. */
  readonly baseDirectory: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
}

/** The kinds of drivers: what each opens, and what it is given beyond the common dependencies. */
export interface DriverKinds {
  verifier: { opens: Verifier; given: { readonly state: StateStore } };
  'credential-source': { opens: CredentialSource; given: unknown };
  policy: {
    opens: Policy;
    given: {
      /** The ids of all verifiers. */
      readonly verifiers: readonly string[];
      /** Those whose names and groups may be written without the verifier's id. */
      readonly mergedVerifiers: readonly string[];
      /** The hosts this proxy serves: what a rule without `services` speaks of. */
      readonly services: readonly string[];
    };
  };
  'token-issuer': { opens: TokenIssuer; given: { readonly issuer: string } };
  upstream: { opens: Upstream; given: { readonly credentials: CredentialSource } };
  runtime: { opens: NodeRuntime; given: unknown };
  'blob-store': {
    opens: BlobStore;
    given: {
      /** `guest`: for an administrator's command beside a running proxy: nothing is done in the background. */
      readonly access: 'owner' | 'guest';
    };
  };
  'state-store': {
    opens: StateStore;
    given: {
      /**
       * `guest`: beside the process that owns it, for an administrator's command: no lock, no sweeping, no cleaning up.
       * What a guest writes the owner sees; a guest must not use compareAndSet. A store that cannot have guests throws.
       */
      readonly access: 'owner' | 'guest';
    };
  };
}

export type DriverKind = keyof DriverKinds;

/** One shape for every driver, built in or loaded by `module:`. */
export interface Driver<K extends DriverKind = DriverKind, Config = unknown> {
  readonly apiVersion: typeof driverApiVersion;
  readonly kind: K;
  /** The `type` in the configuration, and the name of the file. */
  readonly type: string;
  /** Strict; its messages say what was expected. Each setting is described with `.describe()`. */
  readonly config: z.ZodType<Config>;
  /**
   * Of an upstream: the type of the credential source its registry wants, where the configuration names none.
   *
   * @returns undefined where it is asked anonymously then
   */
  usualCredentials?(config: Config): string | undefined;
  /** @throws an Error with a one-line message where it cannot start */
  open(
    config: Config,
    dependencies: DriverDependencies & DriverKinds[K]['given'],
  ): Promise<DriverKinds[K]['opens']>;
}

/** Keeps the types of a driver's configuration and its `open` together. */
export function defineDriver<K extends DriverKind, Config>(driver: Driver<K, Config>): Driver<K, Config> {
  return driver;
}
