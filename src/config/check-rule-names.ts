import { KnownNames } from './known-names.js';
import { isMapping } from './mapping.js';
import type { Finding } from './problem.js';
import { rawRules } from './raw-rules.js';

/**
 * Finds rules of the built-in policy that name a verifier there is not. The policy refuses them as well when it is
 * opened; here the message has a line and comes together with all others.
 */
export function checkRuleNames(raw: unknown): readonly Finding[] {
  const core = isMapping(raw) ? raw : {};
  if (!Array.isArray(core.verifiers)) return [];
  const verifiers = new KnownNames(
    core.verifiers.flatMap((entry: unknown) =>
      isMapping(entry) && typeof entry.id === 'string' ? [entry.id] : [],
    ),
  );
  const merges = Array.isArray(core.mergedVerifiers) && core.mergedVerifiers.length > 0;
  return rawRules(core.policy).flatMap(({ path, rule }) =>
    ['names', 'groups'].flatMap((list) => {
      const texts = isMapping(rule) ? rule[list] : undefined;
      return (Array.isArray(texts) ? texts : []).flatMap((text: unknown, j): Finding[] => {
        const message = typeof text === 'string' ? complaint(text, verifiers, merges) : undefined;
        return message === undefined ? [] : [{ path: [...path, list, j], message }];
      });
    }),
  );
}

function complaint(text: string, verifiers: KnownNames, merges: boolean): string | undefined {
  const colon = text.indexOf(':');
  if (colon < 0) {
    return merges
      ? undefined
      : `'${text}' names no verifier; expected '${verifiers.first ?? 'VERIFIER'}:${text}'`;
  }
  return verifiers.complaint('verifier', text.slice(0, colon));
}
