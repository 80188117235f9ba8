import { z } from 'zod';
import type { AttributeValue, Principal } from '../../contracts/principal.js';
import type { Claims } from '../claims/claim-path.js';

/** A ServiceAccount, as a cluster vouches for it. */
export interface ServiceAccount {
  readonly namespace: string;
  readonly name: string;
  /** Unqualified, as Kubernetes has them. */
  readonly groups: readonly string[];
  readonly uid?: string | undefined;
  readonly pod?: string | undefined;
  readonly podUid?: string | undefined;
  readonly node?: string | undefined;
}

/** What a review says of its user (`authentication.k8s.io/v1`, UserInfo). */
export const userInfo = z.object({
  username: z.string().optional(),
  uid: z.string().optional(),
  groups: z.array(z.string()).max(1_000).nullish(),
  extra: z.record(z.string(), z.array(z.string()).nullable()).nullish(),
});
export type UserInfo = z.output<typeof userInfo>;

const reference = z.object({ name: z.string().optional(), uid: z.string().optional() }).optional();
const boundClaims = z.object({
  namespace: z.string(),
  serviceaccount: z.object({ name: z.string(), uid: z.string().optional() }),
  pod: reference,
  node: reference,
});

/** A DNS label and a DNS subdomain (RFC 1123): Kubernetes' grammar of these names. */
const userGrammar =
  /^system:serviceaccount:([a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?):([a-z0-9](?:[-.a-z0-9]{0,251}[a-z0-9])?)$/;
const ofLegacy = 'kubernetes.io/serviceaccount/namespace';

/** True for what claims to be a ServiceAccount's token, bound or of the old kind. For deciding who is to judge it. */
export function claimsServiceAccount(claims: Claims): boolean {
  const bound = Object.hasOwn(claims, 'kubernetes.io') ? claims['kubernetes.io'] : undefined;
  const isLegacy = Object.hasOwn(claims, ofLegacy) && typeof claims[ofLegacy] === 'string';
  return isLegacy || (typeof bound === 'object' && bound !== null);
}

/**
 * @param claims verified
 * @returns undefined where they are no ServiceAccount's, or `sub` is another one's
 */
export function accountOfClaims(claims: Claims): ServiceAccount | undefined {
  const user = parseUser(claims.sub);
  const bound = boundClaims.safeParse(claims['kubernetes.io']);
  if (user === undefined || !bound.success) return undefined;
  const { namespace, serviceaccount, pod, node } = bound.data;
  if (namespace !== user.namespace || serviceaccount.name !== user.name) return undefined;
  return {
    ...user,
    // What the API server adds to every one of them; the token does not say it.
    groups: ['system:serviceaccounts', `system:serviceaccounts:${namespace}`],
    uid: serviceaccount.uid,
    pod: pod?.name,
    podUid: pod?.uid,
    node: node?.name,
  };
}

/** @returns undefined where the user is no ServiceAccount */
export function accountOfUser({ username, uid, groups, extra }: UserInfo): ServiceAccount | undefined {
  const user = parseUser(username);
  if (user === undefined) return undefined;
  const only = (key: string) => {
    const values = extra?.[`authentication.kubernetes.io/${key}`];
    return values?.length === 1 ? values[0] : undefined;
  };
  return {
    ...user,
    groups: (groups ?? []).filter((group) => group !== ''),
    uid,
    pod: only('pod-name'),
    podUid: only('pod-uid'),
    node: only('node-name'),
  };
}

/** @param id the verifier's. @param expiresAt milliseconds since the epoch */
export function principalOf(account: ServiceAccount, id: string, expiresAt: number | undefined): Principal {
  const { namespace, name, groups, uid, pod, podUid, node } = account;
  const known = { namespace, serviceAccount: name, serviceAccountUid: uid, pod, podUid, node };
  const attributes: Record<string, AttributeValue> = {};
  for (const [key, value] of Object.entries(known)) {
    if (value !== undefined && value !== '') attributes[key] = value;
  }
  return {
    verifier: id,
    name: `${namespace}/${name}`,
    kind: 'machine',
    groups: [...new Set(groups)],
    attributes,
    ...(expiresAt !== undefined && { expiresAt }),
  };
}

function parseUser(text: unknown): Pick<ServiceAccount, 'namespace' | 'name'> | undefined {
  const [, namespace, name] = (typeof text === 'string' && userGrammar.exec(text)) || [];
  return namespace === undefined || name === undefined ? undefined : { namespace, name };
}
