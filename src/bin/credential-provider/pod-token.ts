import { isApiServerAudience } from '../../protocol/api-server-audience.js';
import { unverifiedClaims } from '../../protocol/jwt-form.js';
import type { Secret } from '../../secret.js';
import { HelperError } from '../one-question/helper-error.js';

/** The token of a pod's ServiceAccount, as kubelet got it for one audience. */
export interface PodToken {
  readonly text: Secret;
  /** Not verified; but it is kubelet that gives it. Absent where the token does not say. */
  readonly pod?: { readonly namespace: string; readonly name: string; readonly uid: string };
  /** Milliseconds since the epoch. */
  readonly expiresAt: number;
  /** When kubelet takes another, about. */
  readonly refreshAt: number;
}

/** Of its life; kubelet renews its own tokens when they have lived so much of it. */
const used = 0.8;

/**
 * Refuses what is not for this audience and for it alone: a token for the API server, or one that is good elsewhere too, is
 * never shown to a registry.
 *
 * @throws HelperError
 */
export function readPodToken(text: Secret, audience: string, now: number): PodToken {
  const claims = unverifiedClaims(text.reveal());
  if (claims === undefined) throw new HelperError('what kubelet gave is not a token of a ServiceAccount');
  const { aud, iss, exp, sub } = claims;
  const audiences = [aud].flat();
  if (audiences.length !== 1 || audiences[0] !== audience) {
    throw new HelperError(
      `the pod's token is not for ${audience} alone: nothing is shown; write serviceAccountTokenAudience: ${audience} for this provider`,
    );
  }
  if (audience === iss || isApiServerAudience(audience)) {
    throw new HelperError(
      `${audience} is the audience of the API server: nothing is shown; choose one that nothing else accepts`,
    );
  }
  if (typeof exp !== 'number' || !Number.isSafeInteger(Math.trunc(exp) * 1_000)) {
    throw new HelperError("the pod's token never ends: nothing is shown");
  }
  const expiresAt = exp * 1_000;
  if (expiresAt <= now) throw new HelperError("the pod's token has ended");
  const pod = podOf(claims['kubernetes.io'], sub);
  return { text, expiresAt, refreshAt: now + used * (expiresAt - now), ...(pod && { pod }) };
}

function podOf(bound: unknown, sub: unknown): PodToken['pod'] {
  const { namespace, pod } = asObject(bound);
  const { name, uid } = asObject(pod);
  const inSubject = /^system:serviceaccount:([^:]+):[^:]+$/.exec(textOf(sub))?.[1];
  const found = textOf(namespace) || inSubject;
  return found ? { namespace: found, name: textOf(name), uid: textOf(uid) } : undefined;
}

const asObject = (value: unknown): Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>) : {};
const textOf = (value: unknown): string => (typeof value === 'string' ? value : '');
