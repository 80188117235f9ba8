import type { Credential } from '../contracts/credential-source.js';
import { type Runtime, RuntimeError } from '../contracts/runtime.js';
import { RegistryError } from '../errors.js';
import type { PullAttempt, PullFault } from '../image-service/pull-attempt.js';
import { faultOfError } from '../image-service/pull-fault.js';
import { grpcStatus } from '../protocol/grpc-status.js';
import { toldText } from '../protocol/told-text.js';
import type { ImageReference } from '../reference/image-reference.js';

/**
 * The gRPC status of a pull's failure. Kubelet looks at the words alone, and only under UNKNOWN does it take them as they are:
 * it looks there for how they begin (`RegistryUnavailable`, `SignatureValidationFailed`), and writes them into the pod's
 * event without `rpc error: code = …` before them. What is not there has its own code, as in containerd.
 */
const statusOf: Readonly<Record<PullFault, number>> = {
  unauthorized: grpcStatus.UNKNOWN,
  denied: grpcStatus.UNKNOWN,
  'not found': grpcStatus.NOT_FOUND,
  'rate limited': grpcStatus.UNKNOWN,
  registry: grpcStatus.UNKNOWN,
  runtime: grpcStatus.UNAVAILABLE,
  signature: grpcStatus.UNKNOWN,
  full: grpcStatus.UNKNOWN,
  stalled: grpcStatus.DEADLINE_EXCEEDED,
  stopped: grpcStatus.CANCELLED,
  other: grpcStatus.UNKNOWN,
};

/**
 * Asks a runtime that does not speak CRI.
 *
 * @param own kubelet's credential. @throws RegistryError where it cannot be read
 */
export function engineAttempt(
  runtime: Runtime,
  image: ImageReference,
  own: () => Credential | undefined,
): PullAttempt<undefined> {
  return async ({ signal, credential, onProgress }) => {
    let shown = credential;
    try {
      shown ??= own();
      const options = { signal, onProgress, ...(shown && { credential: shown }) };
      return { ok: true, answer: undefined, imageRef: await runtime.pull(image, options) };
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof RegistryError || error instanceof RuntimeError)) throw error;
      const fault = faultOfError(error);
      const words = error instanceof RegistryError ? (error.reason ?? error.message) : error.message;
      const said = sayingOf(fault, image.repository.registry, toldText(words, shown && [shown]));
      return { ok: false, answer: undefined, fault, status: statusOf[fault], said };
    }
  };
}

/** Another service like this one may stand before us: it knows a fault by these words (`faultOf`). */
function sayingOf(fault: PullFault, registry: string, words: string): string {
  switch (fault) {
    case 'unauthorized':
      return `the registry ${registry} answers unauthorized: ${words}`;
    case 'denied':
      return `the registry ${registry} answers denied: ${words}`;
    case 'not found':
      return `the registry ${registry} answers 404 Not Found: ${words}`;
    case 'rate limited':
      return `the registry ${registry} answers 429 Too Many Requests: ${words}`;
    case 'registry':
      return `RegistryUnavailable: the registry ${registry} cannot be used: ${words}`;
    case 'signature':
      return `SignatureValidationFailed: ${words}`;
    case 'full':
      return `no space left for the image: ${words}`;
    case 'stalled':
      return `no progress of the pull from ${registry}: ${words}`;
    case 'other':
      return `cannot pull from ${registry}: ${words}`;
    default:
      return words;
  }
}
