import type { Credential } from '../../contracts/index.js';
import { HelperError } from '../one-question/helper-error.js';
import { providerVersion } from './provider-request.js';

/** Seconds that kubelet need not ask again where it is the configuration that has nothing for it. */
const nothingFor = 60;

/** What kubelet is told. */
export interface ProviderAnswer {
  /** A key of kubelet's `auth`. */
  readonly key: string;
  readonly credential: Credential;
}

/**
 * The answer to kubelet. It is for this image alone (`Image`): the next one of the same registry may match another rule,
 * and a source may have a credential of its own for each repository.
 *
 * @param now milliseconds since the epoch
 * @throws HelperError for a kind of credential that kubelet cannot be given, and for one that has ended
 */
export function printAnswer({ key, credential }: ProviderAnswer, now: number): string {
  if (credential.kind !== 'basic') {
    const kind = credential.kind === 'identity-token' ? 'an identityToken' : 'a registryToken';
    throw new HelperError(
      `${key}: its credential is ${kind}, and kubelet takes user names with passwords alone: let serve add it`,
    );
  }
  const { username, password } = credential;
  return print({ [key]: { username, password: password.reveal() } }, keptFor(key, credential, now));
}

/** @param reason `configuration`: no rule is for it. `source`: there may be a credential the next time */
export function printNothing(reason: 'configuration' | 'source'): string {
  return print({}, reason === 'configuration' ? nothingFor : 0);
}

function print(auth: object, cacheDuration: number): string {
  const type = { apiVersion: providerVersion, kind: 'CredentialProviderResponse' };
  return `${JSON.stringify({ ...type, cacheKeyType: 'Image', cacheDuration: `${cacheDuration}s`, auth })}\n`;
}

/**
 * How long kubelet keeps it, in whole seconds: until the time to ask for another, and half of its life where its source
 * knows no such time. A pull takes its while, and shows it again for each token it needs.
 */
function keptFor(key: string, { expiresAt, refreshAt }: Credential, now: number): number {
  if (expiresAt !== undefined && expiresAt <= now) throw new HelperError(`${key}: its credential has ended`);
  const half = expiresAt === undefined ? now : now + (expiresAt - now) / 2;
  const until = Math.min(refreshAt ?? half, expiresAt ?? Number.POSITIVE_INFINITY);
  return Math.max(0, Math.floor((until - now) / 1_000));
}
