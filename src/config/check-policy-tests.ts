import { servicesOf, unknownService } from './check-rule-places.js';
import { KnownNames } from './known-names.js';
import { isMapping } from './mapping.js';
import type { Finding } from './problem.js';

/** Finds tests of the policy that speak of a verifier or a host there is not. */
export function checkPolicyTests(raw: unknown): readonly Finding[] {
  const core = isMapping(raw) ? raw : {};
  const policy = isMapping(core.policy) ? core.policy : {};
  if (!Array.isArray(policy.tests)) return [];
  const services = servicesOf(core);
  const verifiers = new KnownNames(
    (Array.isArray(core.verifiers) ? core.verifiers : []).flatMap((entry: unknown) =>
      isMapping(entry) && typeof entry.id === 'string' ? [entry.id] : [],
    ),
  );
  return policy.tests.flatMap((test: unknown, i) => {
    const { as, host } = isMapping(test) ? test : {};
    const colon = typeof as === 'string' ? as.indexOf(':') : -1;
    const complaints = {
      as:
        typeof as === 'string' && colon > 0 ? verifiers.complaint('verifier', as.slice(0, colon)) : undefined,
      host: typeof host === 'string' && services ? unknownService(host.toLowerCase(), services) : undefined,
    };
    return Object.entries(complaints).flatMap(([key, message]): Finding[] =>
      message === undefined ? [] : [{ path: ['policy', 'tests', i, key], message }],
    );
  });
}
