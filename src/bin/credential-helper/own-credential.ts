import type { Credential } from '../../contracts/index.js';
import { builtInDrivers } from '../../plugins/built-in.js';
import { loadDriver } from '../../plugins/load-driver.js';
import type { RegistryHost } from '../../reference/registry-host.js';
import { type CredentialCall, credentialOf } from '../one-question/credential-of.js';
import { HelperError } from '../one-question/helper-error.js';
import { hasProjectedToken } from './projected-token.js';
import { settingsVariable } from './settings-file.js';
import { type Whereabouts, whereabouts } from './whereabouts.js';

/** By what the machine is, for who has configured nothing. @throws HelperError; the signal's reason */
export async function ownCredential(
  registry: RegistryHost,
  call: CredentialCall,
): Promise<Credential | undefined> {
  const place = await whereabouts(call.environment, hasProjectedToken, call);
  if ('tried' in place) {
    throw new HelperError(
      `${registry}: this machine has no identity that is known here; tried ${place.tried}. ` +
        `Write a configuration (${settingsVariable}) that says what to show`,
    );
  }
  call.log.debug({ registry, type: place.type }, `this is ${place.name}`);
  const driver = await loadDriver('credential-source', { type: place.type }, builtInDrivers);
  const config = await driver.config.parseAsync(place.settings ?? {});
  try {
    return await credentialOf(driver, config, { registry, baseDirectory: '/', ...call });
  } catch (error) {
    if (!(error instanceof HelperError)) throw error;
    throw new HelperError(told(place, error), error.code, { cause: error });
  }
}

/** @param failure its cause is the source's own error */
function told({ name, adviceOn }: Whereabouts, { message, cause }: HelperError): string {
  const advice = cause instanceof Error ? adviceOn?.(cause.cause) : undefined;
  return `on ${name}: ${message}${advice === undefined ? '' : `; ${advice}`}`;
}
