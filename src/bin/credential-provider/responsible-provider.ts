import { CredentialRules } from '../../image-service/credential-rules.js';
import type { Pod } from '../../image-service/pull-request.js';
import type { ImageReference } from '../../reference/image-reference.js';
import type { ProviderRule } from './rules-file.js';

export interface AskedImage {
  readonly image: string;
  /** Absent where there is no token of one. */
  readonly pod?: Pod;
}

export interface FoundRule {
  readonly image: ImageReference;
  readonly rule: ProviderRule;
  /**
   * Which of kubelet's providers answers: the one with this audience; undefined: the one without. kubelet asks all whose
   * `matchImages` match, one after the other, and shows what each gives: exactly one must answer.
   */
  readonly provider: string | undefined;
}

/**
 * The first rule that matches, as in `serve`. Nobody tells a provider the pod's annotations: a rule with some is for no
 * image here.
 *
 * A rule of pods' tokens for some namespaces may come first: only who has the token knows whether it is for this pod. So the
 * provider of that rule answers by all rules behind it, too.
 */
export function findRule(rules: readonly ProviderRule[], { image, pod }: AskedImage): FoundRule | undefined {
  const request = { image, ...(pod && { pod }), annotations: new Map(), hasOwnCredential: false };
  const found = new CredentialRules(rules).find(request);
  if (found === undefined) return undefined;
  const at = rules.indexOf(found.rule as ProviderRule);
  const rule = rules[at] as ProviderRule;
  const owner = [...rules.slice(0, at).filter(isForSomeNamespaces), rule].find(
    ({ podIdentity, match }) => podIdentity !== undefined && match.matches(found.image),
  );
  const provider = rule.podIdentity ?? owner?.podIdentity;
  return { image: found.image, rule, provider: provider?.audience };
}

export function isForSomeNamespaces(rule: ProviderRule): boolean {
  return rule.namespaces !== undefined && isUsable(rule);
}

/** False for a rule that is for no image here. */
export function isUsable({ annotations }: ProviderRule): boolean {
  return annotations === undefined || annotations.size === 0;
}
