import type { CallOptions, Clock, Log, RegistryOperation, RegistryRequest } from '../contracts/index.js';
import { RegistryError } from '../errors.js';
import type { ByteBudget } from '../protocol/byte-budget.js';
import type { RepositoryName } from '../reference/repository-name.js';
import type { Secret } from '../secret.js';
import type { AuthorizedClient, AuthorizedRequest, Outcome } from './authorized-client.js';
import { cut } from './bodies.js';
import type { OperationTarget } from './operation-target.js';
import type { Hidden } from './public-message.js';
import { answerError, limitError } from './upstream-errors.js';
import type { UpstreamMetrics } from './upstream-metrics.js';

/** What every operation works with. */
export interface UpstreamTools {
  readonly client: AuthorizedClient;
  readonly upstream: URL;
  /** Of the credentials that were shown. */
  readonly userNames: () => readonly string[];
  /** As `CredentialSource.createRepository`: false where nobody makes it. */
  readonly createRepository: (name: RepositoryName, o: CallOptions) => Promise<boolean>;
  /** Blobs: the bytes, or where they are. */
  readonly blobs: 'redirect' | 'stream';
  /** Milliseconds for a manifest's whole body. */
  readonly bodyTime: number;
  /** Of the manifests that are held, on their way up and down. */
  readonly memory: ByteBudget;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: UpstreamMetrics;
}

export type OperationOf<K extends RegistryOperation['kind']> = Extract<RegistryOperation, { kind: K }>;

/** One request of ours under way. */
export interface UpstreamCall<O extends RegistryOperation = RegistryOperation> {
  readonly request: RegistryRequest;
  readonly operation: O;
  readonly target: OperationTarget;
  readonly signal: AbortSignal;
}

/** The error for an answer that is not what was asked for; its body is gone afterwards. */
export async function failure(
  tools: UpstreamTools,
  call: UpstreamCall,
  { answer, redirected, shown }: Outcome,
): Promise<RegistryError> {
  if (redirected && answer.status !== 404 && answer.status !== 416 && answer.status !== 429) {
    cut(answer.body);
    // Storage knows nothing of registry errors: its 403 is an expired signature, not a denial.
    return new RegistryError('UNAVAILABLE', { reason: `the upstream's storage answers ${answer.status}` });
  }
  return answerError(answer, call.request, hiddenFrom(tools, call, shown), tools.clock.now());
}

/** For the `forbidden` of a write: a full quota, or an immutable tag, is no lack of access. */
export function forbidden(
  tools: UpstreamTools,
  call: UpstreamCall,
): NonNullable<AuthorizedRequest['forbidden']> {
  return (answer, shown) => limitError(answer, hiddenFrom(tools, call, shown));
}

function hiddenFrom(
  tools: UpstreamTools,
  { target: { repository } }: UpstreamCall,
  shown: Secret | undefined,
): Hidden {
  return {
    host: tools.upstream.host,
    userNames: tools.userNames(),
    ...(repository !== undefined && { repository }),
    ...(shown !== undefined && { shown }),
  };
}
