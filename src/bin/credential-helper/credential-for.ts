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
import { HelperError } from './protocol.js';
import type { HelperSettings } from './settings.js';
import { noMetrics } from './stderr-log.js';

export interface CredentialCall extends CallOptions {
  readonly environment: NodeJS.ProcessEnv;
  readonly log: Log;
}

/**
 * By a configuration.
 *
 * @returns undefined where it has none for this registry
 * @throws HelperError; the signal's reason
 */
export async function configuredCredential(
  settings: HelperSettings,
  registry: RegistryHost,
  call: CredentialCall,
): Promise<Credential | undefined> {
  const { registries, baseDirectory, file } = settings;
  const found = registries.find(({ match }) => match.matches(registry));
  if (found === undefined) {
    call.log.debug({}, `nothing in ${file} matches ${registry}: it has ${patternsOf(settings)}`);
    return undefined;
  }
  await found.checkFiles();
  const { driver, config } = found.source;
  const credential = await credentialOf(driver, config, { registry, baseDirectory, ...call });
  if (credential === undefined) {
    call.log.debug(
      {},
      `${registry} matches ${found.match} in ${file}, whose ${driver.type} has nothing to show`,
    );
  }
  return credential;
}

const shownPatterns = 5;

function patternsOf({ registries }: HelperSettings): string {
  const shown = registries.slice(0, shownPatterns).map(({ match }) => match.text);
  const more = registries.length - shown.length;
  return `${shown.join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
}

export interface WantedCredential extends CredentialCall {
  readonly registry: RegistryHost;
  readonly baseDirectory: string;
}

/** Opens a source for one question. @throws HelperError; the signal's reason */
export async function credentialOf(
  driver: Driver<'credential-source'>,
  config: unknown,
  { registry, baseDirectory, log, signal }: WantedCredential,
): Promise<Credential | undefined> {
  const id = driver.type;
  const dependencies: DriverDependencies = { id, baseDirectory, clock: Date, log, metrics: noMetrics };
  let source: CredentialSource | undefined;
  try {
    source = await driver.open(config, dependencies);
    return await source.credentialFor({ registry }, { signal });
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
