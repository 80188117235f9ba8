import type { Credential } from '../../contracts/index.js';
import type { RegistryHost } from '../../reference/registry-host.js';
import { type CredentialCall, credentialOf } from '../one-question/credential-of.js';
import type { HelperSettings } from './settings.js';

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
