import { isMapping } from '../../config/mapping.js';
import { machineUsers } from '../../protocol/identity-envelope.js';
import { tokenUser } from './protocol.js';
import type { ConfiguredRegistry, HelperSettings } from './settings.js';

const userOfType: Readonly<Record<string, string>> = {
  'aws-identity': machineUsers.aws,
  'aws-sts': machineUsers.sts,
  'azure-identity': machineUsers.azure,
  'gcp-identity': machineUsers.gcp,
  'kubernetes-token': machineUsers.kubernetes,
};

/** The user name of a registry's credential, as far as it is known without asking for it; empty otherwise. */
export function userNameOf({ source: { driver, config } }: ConfiguredRegistry): string {
  const { username, identityToken } = isMapping(config) ? config : {};
  if (typeof username === 'string') return username;
  return userOfType[driver.type] ?? (identityToken === undefined ? '' : tokenUser);
}

/**
 * The answer to `list`: registries that are written as they are, with their user names. Those of a pattern nobody can
 * list. Clients ask `get` for each.
 */
export function listedRegistries({ registries }: HelperSettings): Readonly<Record<string, string>> {
  const listed = new Map<string, string>();
  for (const one of registries) {
    const host = one.match.text;
    const first = registries.find(({ match }) => match.matches(host));
    if (!host.includes('*') && first === one) listed.set(host, userNameOf(one));
  }
  return Object.fromEntries(listed);
}
