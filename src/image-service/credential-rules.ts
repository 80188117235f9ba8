import type { CredentialSource } from '../contracts/credential-source.js';
import { RegistryError } from '../errors.js';
import { type ImageReference, parseImageReference } from '../reference/image-reference.js';
import type { ImagePattern } from '../settings/image-pattern.js';
import type { NamePattern } from '../settings/name-pattern.js';
import type { PullRequest } from './pull-request.js';

/** Which images are pulled with which credential. */
export interface CredentialRule {
  /** What log lines, metrics and pod events call it: its pattern. */
  readonly name: string;
  readonly match: ImagePattern;
  /** Absent: of any, and where no pod is known. */
  readonly namespaces?: readonly NamePattern[];
  /** All of them must match; absent or empty: any. */
  readonly annotations?: ReadonlyMap<string, NamePattern>;
  /** Absent: these images are asked for as nobody, and no later rule counts for them. */
  readonly credentials?: {
    /** The type of its driver: `aws-identity`. */
    readonly type: string;
    readonly source: CredentialSource;
  };
}

export interface RuleMatch {
  readonly image: ImageReference;
  readonly rule: CredentialRule;
}

/** The rules in the order in which they are tried. */
export class CredentialRules {
  readonly #rules: readonly CredentialRule[];

  constructor(rules: readonly CredentialRule[]) {
    this.#rules = rules;
  }

  /**
   * The first rule that matches. What credential kubelet has sent does not count here.
   *
   * @returns undefined also where the image is no reference, or has no registry of its own
   */
  find(request: PullRequest): RuleMatch | undefined {
    const image = qualifiedImage(request.image);
    if (image === undefined) return undefined;
    const rule = this.#rules.find((one) => isFor(one, image, request));
    return rule && { image, rule };
  }

  /** The first rule that is for the image, but not for this pod. @returns undefined where there is none, or one matches */
  findForOthers(request: PullRequest): CredentialRule | undefined {
    const image = qualifiedImage(request.image);
    if (image === undefined || this.find(request) !== undefined) return undefined;
    return this.#rules.find(({ match }) => match.matches(image));
  }
}

/**
 * The image, where its name says which registry it is at. CRI-O looks for `busybox` in all its search registries, and
 * would show each of them a credential that came with it.
 *
 * @returns undefined where it does not say, or is no image reference
 */
export function qualifiedImage(text: string): ImageReference | undefined {
  // distribution/reference: the first component is a host where it has a dot or a colon, or is `localhost`. CRI-O takes
  // no host by its upper-case letters.
  const slash = text.indexOf('/');
  const first = slash < 0 ? '' : text.slice(0, slash);
  if (!/[.:]/.test(first) && first !== 'localhost') return undefined;
  return referenceOf(text);
}

/** @returns undefined where the text is no image reference */
export function referenceOf(text: string): ImageReference | undefined {
  try {
    return parseImageReference(text);
  } catch (error) {
    if (error instanceof RegistryError) return undefined;
    throw error;
  }
}

function isFor(
  { match, namespaces, annotations }: CredentialRule,
  image: ImageReference,
  { pod, annotations: written }: PullRequest,
): boolean {
  if (!match.matches(image)) return false;
  if (namespaces !== undefined) {
    if (pod === undefined || !namespaces.some((pattern) => pattern.matches(pod.namespace))) return false;
  }
  return [...(annotations ?? [])].every(([name, pattern]) => {
    const value = written.get(name);
    return value !== undefined && pattern.matches(value);
  });
}
