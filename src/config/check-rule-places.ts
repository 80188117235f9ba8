import { didYouMean } from '../plugins/suggest.js';
import { ServedHosts } from '../routing/served-host.js';
import { registryHostName } from '../settings/registry-host-name.js';
import { coreSchema } from './core-schema.js';
import { isMapping, type Mapping } from './mapping.js';
import type { Finding } from './problem.js';
import { rawRules } from './raw-rules.js';

/**
 * Finds rules of the built-in policy that can never hold: for a host that is not served, or for a repository whose
 * pattern begins with the host. Says nothing while the external URL is wrong.
 */
export function checkRulePlaces(raw: unknown): readonly Finding[] {
  const core = isMapping(raw) ? raw : {};
  const services = servicesOf(core);
  if (services === undefined) return [];
  const prefixes = mappings(core.routes).flatMap(({ prefix }) =>
    typeof prefix === 'string' ? [prefix] : [],
  );
  const checks: Readonly<Record<string, (text: string) => string | undefined>> = {
    services: (text) => unknownService(text, services),
    repositories: (text) => hostBefore(text, services, prefixes),
  };
  return rawRules(core.policy).flatMap(({ path, rule }) =>
    Object.entries(checks).flatMap(([list, check]) => {
      const texts = isMapping(rule) ? rule[list] : undefined;
      return (Array.isArray(texts) ? texts : []).flatMap((text: unknown, j): Finding[] => {
        const message = typeof text === 'string' && text !== '' ? check(text) : undefined;
        return message === undefined ? [] : [{ path: [...path, list, j], message }];
      });
    }),
  );
}

/** The hosts that rules can speak of: those served, and those of `token.services`. */
export function servicesOf(core: Mapping): readonly string[] | undefined {
  const externalUrl = coreSchema.shape.externalUrl.safeParse(core.externalUrl).data;
  if (externalUrl === undefined) return undefined;
  const hosts = (values: readonly unknown[]) =>
    values.flatMap((value) => registryHostName().safeParse(value).data ?? []);
  const served = new ServedHosts(externalUrl, hosts(mappings(core.routes).map(({ host }) => host)));
  const others = isMapping(core.token) && Array.isArray(core.token.services) ? core.token.services : [];
  return [...new Set([...served.services, ...hosts(others)])];
}

export function unknownService(text: string, services: readonly string[]): string | undefined {
  if (services.includes(text)) return undefined;
  return `no host that is served or in token.services; known: ${services.join(', ')}${didYouMean(text, services)}`;
}

/** A route may well have a host for its prefix. */
function hostBefore(
  text: string,
  services: readonly string[],
  prefixes: readonly string[],
): string | undefined {
  const host = services.find((service) => text.startsWith(`${service}/`));
  if (host === undefined || prefixes.some((prefix) => prefix.startsWith(`${host}/`))) return undefined;
  return `expected the repository without the host: '${text.slice(host.length + 1)}'`;
}

const mappings = (value: unknown): readonly Mapping[] =>
  Array.isArray(value) ? value.filter(isMapping) : [];
