import { shorten } from '../reference/repository-name.js';
import { isLoopbackHost } from './local-address.js';

export interface RealmRules {
  readonly upstream: URL;
  /** Origins the preset knows. */
  readonly tokenOrigins: readonly string[];
  /** What the configuration names: an origin, or a whole URL. */
  readonly configured?: URL;
}

/** A token endpoint we do not send a credential to. The message says why, for operators. */
export class RealmRefused extends Error {}

/**
 * The token endpoint a challenge names. It is chosen by whoever answers for the registry, so it must be on the
 * upstream's own host, on one its preset knows, or on one the configuration names. Hosts are compared whole, port
 * included; never by suffix.
 *
 * @throws RealmRefused
 */
export function checkRealm(text: string, rules: RealmRules): URL {
  const realm = URL.canParse(text) ? new URL(text) : undefined;
  if (realm === undefined) throw new RealmRefused(`the realm "${shorten(text)}" is not a URL`);
  const shown = shorten(`${realm.origin}${realm.pathname}`);
  if (realm.username !== '' || realm.password !== '') {
    throw new RealmRefused('the realm carries a user name or password');
  }
  realm.hash = '';
  if (!isSafeScheme(realm, rules.upstream)) throw new RealmRefused(`the realm ${shown} is not https`);
  const allowed =
    realm.host === rules.upstream.host ||
    rules.tokenOrigins.includes(realm.origin) ||
    (rules.configured !== undefined && isConfigured(realm, rules.configured));
  if (!allowed) {
    throw new RealmRefused(
      `the realm ${shown} is not on the registry's own host; if it is right, name it as \`realm\``,
    );
  }
  return realm;
}

function isSafeScheme(realm: URL, upstream: URL): boolean {
  if (realm.protocol === 'https:') return true;
  if (realm.protocol !== 'http:') return false;
  return isLoopbackHost(realm) || (upstream.protocol === 'http:' && realm.hostname === upstream.hostname);
}

function isConfigured(realm: URL, configured: URL): boolean {
  if (realm.origin !== configured.origin) return false;
  return configured.pathname === '/' || configured.pathname === realm.pathname;
}
