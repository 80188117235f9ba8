import { HelperError } from '../one-question/helper-error.js';
import { matchImages } from './match-images.js';
import { isForSomeNamespaces, isUsable } from './responsible-provider.js';
import type { ProviderRule } from './rules-file.js';

/** An entry of kubelet's `providers`. */
export interface KubeletProvider {
  /** That of a file in kubelet's directory of providers. */
  readonly name: string;
  readonly matchImages: readonly string[];
  /** Absent: it gets no tokens of pods. */
  readonly tokens?: { readonly audience: string; readonly isRequired: boolean };
}

export const plainName = 'kubelet-image-service';

/**
 * The providers for some rules: one for those with credentials alone, and one for each audience of pods' tokens, for
 * kubelet takes tokens for one audience each.
 *
 * @param withoutTokens only those that have something to answer without a token
 * @throws HelperError where there is nothing that a provider could answer
 */
export function kubeletProviders(
  rules: readonly ProviderRule[],
  withoutTokens = false,
): readonly KubeletProvider[] {
  const usable = rules.filter(isUsable);
  const plain = imagesOf(usable.filter(({ podIdentity }) => podIdentity === undefined));
  const names = namesFor(audiencesOf(usable));
  const providers = [...names].map(([audience, name]) => {
    const own = usable.filter(({ podIdentity }) => podIdentity?.audience === audience);
    return {
      name,
      matchImages: imagesOf(own),
      tokens: { audience, isRequired: !answersWithoutToken(own, usable) },
    };
  });
  const all = [
    ...(plain.length > 0 ? [{ name: plainName, matchImages: plain }] : []),
    ...providers.filter(({ tokens }) => !(withoutTokens && tokens.isRequired)),
  ];
  if (all.length === 0) throw new HelperError('images: there is no rule that kubelet could ask for', 2);
  return all;
}

/** Each once, in the order of the rules. */
export function audiencesOf(rules: readonly ProviderRule[]): readonly string[] {
  const audiences = rules.filter(isUsable).flatMap(({ podIdentity }) => podIdentity?.audience ?? []);
  return [...new Set(audiences)];
}

function imagesOf(rules: readonly ProviderRule[]): readonly string[] {
  return [...new Set(rules.flatMap(({ match }) => matchImages(match)))];
}

/** True where pods without a ServiceAccount get something: credentials of its own rules, or of rules behind them. */
function answersWithoutToken(own: readonly ProviderRule[], usable: readonly ProviderRule[]): boolean {
  const isAnyBehind = usable.some(({ podIdentity }) => podIdentity === undefined);
  return own.some((rule) => rule.hasCredentials || (isForSomeNamespaces(rule) && isAnyBehind));
}

/** By audience. kubelet does not start with two providers of one name, also where an audience ends as a number would. */
function namesFor(audiences: readonly string[]): ReadonlyMap<string, string> {
  const names = new Map<string, string>();
  const given = new Set<string>();
  for (const audience of audiences) {
    const first = `${plainName}-token-${slug(audience)}`;
    let name = first;
    for (let n = 2; given.has(name); n++) name = `${first}-${n}`;
    given.add(name);
    names.set(audience, name);
  }
  return names;
}

function slug(audience: string): string {
  const plain = audience.toLowerCase().replace(/[^a-z0-9.]+/g, '-');
  return plain.slice(0, 60).replace(/^[-.]+|[-.]+$/g, '') || 'audience';
}
