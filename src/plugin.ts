// What a plugin imports (`docker-registry-proxy/plugin`): enough to need no package of its own, and nothing of the
// server. Whatever stands here stays as it is while `driverApiVersion` does.
import type { z } from 'zod';
import {
  type CredentialSource,
  type Driver,
  type DriverDependencies,
  type DriverKinds,
  driverApiVersion,
  type NodeRuntime,
  type Verifier,
} from './contracts/index.js';

export { z } from 'zod';
export type {
  AttributeValue,
  CallOptions,
  ClientCredentials,
  Clock,
  Closable,
  Credential,
  CredentialSource,
  CredentialTarget,
  CriRuntime,
  Driver,
  DriverDependencies,
  FilesystemUsage,
  Log,
  LogFields,
  Metrics,
  NodeRuntime,
  Principal,
  PullOptions,
  PullProgress,
  Runtime,
  RuntimeFault,
  RuntimeImage,
  StateStore,
  Verifier,
} from './contracts/index.js';
export { RuntimeError } from './contracts/runtime.js';
export { describeError, type ErrorCode, RegistryError, type RegistryErrorOptions } from './errors.js';
export { openSecret, type SecretReader } from './outgoing/open-secret.js';
export { type ImageReference, printImageReference } from './reference/image-reference.js';
export { Secret } from './secret.js';
// Files and secrets that are declared with these are checked before a driver is opened, and named where they are missing.
export { ChangingFile, type ChangingFileOptions } from './settings/changing-file.js';
export { duration } from './settings/duration.js';
export { FilePath, readableDirectory, readableFile } from './settings/file-path.js';
export { type SecretSource, secretSource } from './settings/secret-source.js';
export { secureUrl } from './settings/secure-url.js';

/** What a driver's author writes; the rest of a driver follows from its kind. */
export interface Definition<Config, Dependencies, Opened> {
  /** A name of its own, for messages and for `type` beside `module`. */
  readonly type: string;
  /** A strict zod schema. Each setting has a `.describe()` and, where it must have one form, a message that says which. */
  readonly config: z.ZodType<Config>;
  /**
   * Opens files and checks what can be checked without a network: a server that is down must not keep the proxy from
   * starting.
   *
   * @throws an Error with a one-line message where it cannot start
   */
  open(config: Config, dependencies: Dependencies): Promise<Opened> | Opened;
}

/** What `open` of a verifier is given. */
export type VerifierDependencies = DriverDependencies & DriverKinds['verifier']['given'];

/** A driver that finds out who a client is. Export it as `driver`. */
export function defineVerifier<Config>(
  definition: Definition<Config, VerifierDependencies, Verifier>,
): Driver<'verifier', Config> {
  const { type, config } = definition;
  return {
    apiVersion: driverApiVersion,
    kind: 'verifier',
    type,
    config,
    open: async (settings, dependencies) => definition.open(settings, dependencies),
  };
}

/** A driver that says what the proxy shows to an upstream. Export it as `driver`. */
export function defineCredentialSource<Config>(
  definition: Definition<Config, DriverDependencies, CredentialSource>,
): Driver<'credential-source', Config> {
  const { type, config } = definition;
  return {
    apiVersion: driverApiVersion,
    kind: 'credential-source',
    type,
    config,
    open: async (settings, dependencies) => definition.open(settings, dependencies as DriverDependencies),
  };
}

/** A driver of the container runtime that `kubelet-image-service` serves. Export it as `driver`. */
export function defineRuntime<Config>(
  definition: Definition<Config, DriverDependencies, NodeRuntime>,
): Driver<'runtime', Config> {
  const { type, config } = definition;
  return {
    apiVersion: driverApiVersion,
    kind: 'runtime',
    type,
    config,
    open: async (settings, dependencies) => definition.open(settings, dependencies as DriverDependencies),
  };
}
