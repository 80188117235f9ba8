import type { CallOptions } from '../../contracts/index.js';
import { NoRole } from '../../outgoing/aws/identity-document.js';
import { askAws, askAzure, askGoogle, type MetadataProbe, openProbeCaller } from './metadata-servers.js';

/** Where this program runs. */
export interface Whereabouts {
  /** For messages. */
  readonly name: string;
  /** The credential source that is good there. */
  readonly type: 'kubernetes-token' | 'gcp-identity' | 'aws-sts' | 'azure-identity';
  /** Its settings; without them its defaults. */
  readonly settings?: Readonly<Record<string, string>>;
  /** What to do about a failure of that source, beyond what it says itself. @param cause what is behind the failure */
  readonly adviceOn?: (cause: unknown) => string | undefined;
}

const aws: Whereabouts = {
  name: 'AWS',
  type: 'aws-sts',
  // It is the machine that logs in: keys of whoever works on it are not shown unasked.
  settings: { identity: 'machine' },
  // Never on its own account: the document has no audience, and whoever sees it can show it too.
  adviceOn: (cause) => (cause instanceof NoRole ? withoutRole : undefined),
};
const withoutRole =
  'attach a role to the instance (an instance profile; it needs no rights). Where it cannot have one, a configuration with ' +
  '`credentials: { type: aws-identity }` shows its identity document, and one with `{ type: aws-sts }` your own AWS keys';
const google: Whereabouts = { name: 'Google Cloud', type: 'gcp-identity' };
const azure: Whereabouts = { name: 'Azure', type: 'azure-identity' };
const kubernetes: Whereabouts = { name: 'Kubernetes', type: 'kubernetes-token' };

const probes: readonly (readonly [Whereabouts, MetadataProbe])[] = [
  [google, askGoogle],
  [aws, askAws],
  [azure, askAzure],
];

/**
 * Finds out where this program runs. What was given to this very pod or container comes first; else the machine's
 * metadata servers are asked, all at once, each for at most three seconds.
 *
 * @param hasToken whether a ServiceAccount token for this purpose was projected
 * @returns what was tried and what came of it, where it is none of these
 */
export async function whereabouts(
  environment: NodeJS.ProcessEnv,
  hasToken: () => Promise<boolean>,
  { signal }: CallOptions,
): Promise<Whereabouts | { readonly tried: string }> {
  if (await hasToken()) return kubernetes;
  if (hasWorkloadRole(environment)) return aws;
  const direct = openProbeCaller();
  try {
    const failures = await Promise.all(probes.map(([, ask]) => ask({ environment, direct, signal })));
    const found = probes.find((_, i) => failures[i] === undefined);
    if (found !== undefined) return found[0];
    const tried = probes.map(([{ name }], i) => `${name} (${failures[i]})`);
    return { tried: `Kubernetes (no token), ${tried.join(', ')}` };
  } finally {
    await direct.close();
  }
}

/** EKS and ECS give a role to a pod or a task; the machine's own is often out of its reach. */
function hasWorkloadRole(environment: NodeJS.ProcessEnv): boolean {
  const has = (name: string) => (environment[name] ?? '') !== '';
  return (
    has('AWS_CONTAINER_CREDENTIALS_RELATIVE_URI') ||
    has('AWS_CONTAINER_CREDENTIALS_FULL_URI') ||
    (has('AWS_WEB_IDENTITY_TOKEN_FILE') && has('AWS_ROLE_ARN'))
  );
}
