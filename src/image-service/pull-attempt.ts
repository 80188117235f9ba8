import type { Credential } from '../contracts/credential-source.js';
import type { PullProgress } from '../contracts/runtime.js';

/**
 * Why a pull failed, as far as it makes a difference. `unauthorized`: what was shown is refused (401). `denied`: who was
 * shown may not have it, or there is no such repository; registries say the same of both. `registry`: it cannot be reached,
 * or answers 500, 502, 503 or 504. `runtime`: the runtime does not answer. `stopped`: whoever asked has gone, or its time is over.
 */
export type PullFault =
  | 'unauthorized'
  | 'denied'
  | 'not found'
  | 'rate limited'
  | 'registry'
  | 'runtime'
  | 'signature'
  | 'full'
  | 'stalled'
  | 'stopped'
  | 'other';

/** What one attempt came to. `answer` is what the caller hands on; the service does not look into it. */
export type PullOutcome<Answer> =
  | { readonly ok: true; readonly answer: Answer; readonly imageRef: string }
  | {
      readonly ok: false;
      readonly answer: Answer;
      readonly fault: PullFault;
      /** The gRPC status the runtime answered with, or would have. */
      readonly status: number;
      /** What the runtime says: one line. */
      readonly said: string;
    };

export interface AttemptOptions {
  readonly signal: AbortSignal;
  /** Absent: the request goes on as kubelet sent it. */
  readonly credential?: Credential;
  readonly onProgress: (progress: PullProgress) => void;
}

/** Asks the runtime once. Rejects only where nobody waits any more, with the signal's reason. */
export type PullAttempt<Answer> = (o: AttemptOptions) => Promise<PullOutcome<Answer>>;
