import { shorten } from '../reference/repository-name.js';
import { type CredentialRules, qualifiedImage, type RuleMatch, referenceOf } from './credential-rules.js';
import type { PullFault, PullOutcome } from './pull-attempt.js';
import type { Attempted } from './pull-attempts.js';
import type { PullRequest } from './pull-request.js';

/** Characters of an advice: it stands in a pod event, behind what the runtime says. */
const longest = 300;
const longestName = 80;
const longestReason = 120;
/** Of gRPC: a containerd without its CRI plugin answers so. */
const unimplemented = 12;
const noImagesAdvice =
  'the container runtime of this node serves no CRI image service: take `cri` out of `disabled_plugins` in /etc/containerd/config.toml and restart it';
/** Where a registry has answered so, nothing is wrong with the way to it; nor is it where its port is closed. */
const unwell =
  /\b50[0234] (?:Internal|Bad|Service|Gateway)|\b(?:StatusCode:|HTTP|status:|registry) 50[0234]\b|\bconnection refused\b/i;

/**
 * What a runtime says, and what we know beyond it. Kubelet knows some errors by how they begin: ours comes last.
 *
 * @param advice one sentence
 */
export function withAdvice(said: string, advice: string | undefined): string {
  if (advice === undefined) return said;
  return `${said}${said === '' ? '' : '; '}kubelet-image-service: ${advice}`;
}

export interface AdvisedPull {
  readonly request: PullRequest;
  readonly match: RuleMatch | undefined;
  readonly rules: CredentialRules;
  readonly attempted: Attempted<unknown>;
}

/** @returns one sentence for people: what failed, by whose credential, what to do; undefined where we know nothing more */
export function adviceFor(pull: AdvisedPull): string | undefined {
  const { outcome } = pull.attempted;
  const image = referenceOf(pull.request.image);
  if (outcome.ok || image === undefined) return undefined;
  const advice = adviceOf(pull, outcome, `the registry ${short(image.repository.registry)}`);
  return advice === undefined ? undefined : shorten(advice, longest - 1);
}

function adviceOf(
  pull: AdvisedPull,
  { fault, status, said }: PullOutcome<unknown> & { readonly ok: false },
  registry: string,
): string | undefined {
  if (status === unimplemented && fault !== 'unauthorized' && fault !== 'denied') return noImagesAdvice;
  switch (fault) {
    case 'unauthorized':
    case 'denied':
      return refusalAdvice(pull, fault, registry);
    case 'not found':
      return notFoundAdvice(pull, registry);
    case 'rate limited':
      return pull.attempted.shown === 'none'
        ? `${lackingPart(pull)}${registry} limits how much is pulled without a credential; kubelet tries again by itself`
        : `${registry} limits how much is pulled; kubelet tries again by itself`;
    case 'registry':
      return unwell.test(said)
        ? `${registry} is not well: look there first; kubelet tries again by itself`
        : `${registry} cannot be reached from this node, or is not well: look at its DNS, route, proxy and certificates`;
    case 'runtime':
      return 'the container runtime of this node does not answer: look at its service there';
    case 'full':
      return 'this node has no space left for images: make room, or give it a larger disk';
    case 'stalled':
      return `nothing came from ${registry} for too long: look at this node's network; kubelet tries again by itself`;
    case 'stopped':
      return `the container runtime gave up by itself, as it does where nothing comes from ${registry} for minutes`;
    default:
      return undefined;
  }
}

function refusalAdvice(pull: AdvisedPull, fault: 'unauthorized' | 'denied', registry: string): string {
  const { request, match, rules, attempted } = pull;
  switch (attempted.shown) {
    case 'kubelet':
      return kubeletsOwnAdvice(match, request.isOwnEmpty === true);
    case 'rule': {
      const whose = `the credential of ${ruleName(match)}`;
      const [what, check] =
        fault === 'unauthorized'
          ? [`${registry} refused ${whose}`, 'check what its source gives, and who may log in there']
          : [`${registry} denies the image to ${whose}`, 'check the name, and who may pull it there'];
      return `${what}: ${check}${withoutPart(attempted.withoutCredential?.fault)}`;
    }
    case 'none':
      if (attempted.lacking) {
        const advice = lackingPart(pull);
        return `${advice}the image was asked for without`;
      }
      if (match)
        return `${ruleName(match)} has no credential for it: give it one, or the pod an imagePullSecret`;
      return noRuleAdvice(request, rules);
  }
}

function kubeletsOwnAdvice(match: RuleMatch | undefined, isEmpty: boolean): string {
  const whose = isEmpty
    ? 'kubelet sent an empty credential, as of an imagePullSecret without user and password, and it was refused'
    : "kubelet's own credential, such as an imagePullSecret of the pod or its service account, was refused";
  return match?.rule.credentials
    ? `${whose}: correct or remove it; without one, ${ruleName(match)} applies`
    : `${whose}: correct it`;
}

function noRuleAdvice(request: PullRequest, rules: CredentialRules): string {
  if (qualifiedImage(request.image) === undefined) {
    return 'rules are for images with their registry, such as docker.io/library/busybox: name it in full';
  }
  const other = rules.findForOthers(request);
  if (other !== undefined) {
    return `rule '${short(other.name)}' is for this image, but not for this pod: see its namespaces and annotations`;
  }
  const image = short(nameOf(request.image), 2 * longestName);
  return `no rule of kubelet-image-service matches ${image}: add one, or give the pod an imagePullSecret`;
}

function notFoundAdvice(pull: AdvisedPull, registry: string): string | undefined {
  const { attempted, match } = pull;
  if (attempted.lacking) return `${lackingPart(pull)}the image was asked for without`;
  if (attempted.shown !== 'rule') return undefined;
  return `${registry} has no such image for the credential of ${ruleName(match)}: check name and tag, and who may pull it`;
}

/** With its own end. */
function lackingPart({ attempted: { lacking }, match }: AdvisedPull): string {
  if (!lacking || !match?.rule.credentials) return '';
  const { type } = match.rule.credentials;
  const reason = short(lacking.reason, longestReason);
  return `no credential from ${type} (rule '${short(match.rule.name)}'): ${reason}; `;
}

/** Where the attempt without failed for another reason, that one may be what keeps a public image away. */
function withoutPart(fault: PullFault | undefined): string {
  const isSame =
    fault === undefined || fault === 'unauthorized' || fault === 'denied' || fault === 'not found';
  return isSame ? '' : `; without it the pull failed too (${fault})`;
}

function ruleName(match: RuleMatch | undefined): string {
  if (match === undefined) return 'a rule';
  const { name, credentials } = match.rule;
  return `rule '${short(name)}'${credentials ? ` (${credentials.type})` : ''}`;
}

/** Without tag and digest: rules do not look at them. */
function nameOf(image: string): string {
  const reference = referenceOf(image);
  if (reference === undefined) return image;
  const { registry, name } = reference.repository;
  return `${registry}/${name}`;
}

function short(text: string, length = longestName): string {
  return shorten(text, length);
}
