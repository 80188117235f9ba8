import type {
  CallOptions,
  Credential,
  CredentialSource,
  Driver,
  DriverDependencies,
  Log,
} from '../../contracts/index.js';
import { describeError, RegistryError } from '../../errors.js';
import type { RegistryHost } from '../../reference/registry-host.js';
import type { RepositoryName } from '../../reference/repository-name.js';
import { HelperError } from './helper-error.js';
import { noMetrics } from './no-metrics.js';

export interface CredentialCall extends CallOptions {
  readonly environment: NodeJS.ProcessEnv;
  readonly log: Log;
}

export interface WantedCredential extends CredentialCall {
  readonly registry: RegistryHost;
  /** Absent where the registry as a whole is meant. */
  readonly name?: RepositoryName;
  readonly baseDirectory: string;
}

/** Opens a source for one question. @throws HelperError; the signal's reason */
export async function credentialOf(
  driver: Driver<'credential-source'>,
  config: unknown,
  { registry, name, baseDirectory, log, signal }: WantedCredential,
): Promise<Credential | undefined> {
  const id = driver.type;
  const dependencies: DriverDependencies = { id, baseDirectory, clock: Date, log, metrics: noMetrics };
  let source: CredentialSource | undefined;
  try {
    source = await driver.open(config, dependencies);
    return await source.credentialFor({ registry, ...(name && { name }) }, { signal });
  } catch (error) {
    signal.throwIfAborted();
    log.debug({ registry, type: id, error: describeError(error) }, 'there is no credential');
    // A source says it all in its reason; what is behind it is for who looks closer.
    const reason = error instanceof RegistryError ? error.reason : undefined;
    throw new HelperError(`${registry}: ${id}: ${reason ?? describeError(error)}`, 1, { cause: error });
  } finally {
    await source?.close();
  }
}
