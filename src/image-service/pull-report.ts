import type { Audit, ImagePullEvent } from '../contracts/audit.js';
import type { Log, LogFields } from '../contracts/log.js';
import type { Metrics } from '../contracts/metrics.js';
import { describeError } from '../errors.js';
import { grpcStatus } from '../protocol/grpc-status.js';
import { toldText, type Untold } from '../protocol/told-text.js';
import type { RuleMatch } from './credential-rules.js';
import { withAdvice } from './pull-advice.js';
import type { Attempted } from './pull-attempts.js';
import type { RunningPull } from './pull-register.js';
import type { PullRequest } from './pull-request.js';

/** Milliseconds between two lines about a pull that runs. */
const progressEvery = 10_000;
const buckets = [0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800];

export interface ReportParts {
  readonly log: Log;
  readonly metrics: Metrics;
  readonly audit?: Audit;
  /** The runtime tells how far a pull has come: where it has told nothing, nothing came. */
  readonly tellsProgress?: boolean;
}

/** What a rule's source failed to give counts by the rule. */
export class PullMetrics {
  readonly #pulls: ReturnType<Metrics['counter']>;
  readonly #durations: ReturnType<Metrics['histogram']>;
  readonly #failures: ReturnType<Metrics['counter']>;

  /** @param running how many run */
  constructor(metrics: Metrics, running: () => number) {
    this.#pulls = metrics.counter(
      'image_pulls_total',
      'Images that were pulled, or not, by whose credential was shown in the end: that of a rule, kubelet, or none',
      ['result', 'credential'],
    );
    this.#durations = metrics.histogram(
      'image_pull_duration_seconds',
      'How long a pull took, all its attempts together',
      ['result'],
      buckets,
    );
    this.#failures = metrics.counter(
      'image_pull_credential_failures_total',
      'Pulls that went on without the credential of their rule, since its source failed or was late',
      ['rule'],
    );
    metrics.gauge('image_pulls_running', 'Pulls that run now').follow({}, running);
  }

  ended(result: ImagePullEvent['result'], credential: ImagePullEvent['credential'], duration: number): void {
    this.#pulls.add({ result, credential });
    this.#durations.observe({ result }, duration / 1000);
  }

  credentialFailed(rule: string): void {
    this.#failures.add({ rule });
  }
}

/** Says of one pull what happens to it: in the log, the audit log, the metrics and the register. */
export class PullReport {
  readonly #parts: Omit<ReportParts, 'metrics'> & { readonly metrics: PullMetrics };
  readonly #request: PullRequest;
  readonly #match: RuleMatch | undefined;
  readonly #running: RunningPull;
  readonly #fields: LogFields;
  readonly #timer: NodeJS.Timeout;

  constructor(
    parts: Omit<ReportParts, 'metrics'> & { readonly metrics: PullMetrics },
    request: PullRequest,
    match: RuleMatch | undefined,
    running: RunningPull,
  ) {
    this.#parts = parts;
    this.#request = request;
    this.#match = match;
    this.#running = running;
    const { image, pod, rule, source, credential } = running.record();
    this.#fields = {
      image,
      ...(pod && { namespace: pod.namespace, pod: pod.name }),
      ...(rule !== undefined && { rule }),
      ...(source !== undefined && { source }),
    };
    // Whose it is is known only in the end where a rule is to give it.
    parts.log.info(
      { ...this.#fields, ...((credential === 'kubelet' || source === undefined) && { credential }) },
      'a pull begins',
    );
    this.#timer = setInterval(() => this.#tellProgress(), progressEvery).unref();
  }

  /** @param advice for people. @returns what it was told with */
  ended(attempted: Attempted<unknown>, advice: string | undefined): void {
    clearInterval(this.#timer);
    this.#tellCredential(attempted);
    const { outcome, shown, given } = attempted;
    if (outcome.ok) {
      const { imageRef } = outcome;
      this.#running.end({ credential: shown, imageRef });
      this.#parts.log.info({ ...this.#fields, credential: shown, imageRef, ...this.#numbers() }, 'pulled');
      this.#record({ result: 'ok', credential: shown, imageRef, status: grpcStatus.OK });
      return;
    }
    const { fault, status } = outcome;
    const error = withAdvice(this.#told(outcome.said, given), advice);
    this.#running.end({ credential: shown, error });
    const fields = { ...this.#fields, credential: shown, fault, error, ...this.#numbers() };
    this.#parts.log.warn(fields, 'a pull failed');
    const result = fault === 'unauthorized' || fault === 'denied' ? 'refused' : 'failed';
    this.#record({ result, credential: shown, status, reason: error });
  }

  /** Nobody waits for it any more, or the attempt broke. */
  left(reason: unknown, isAwaited: boolean): void {
    clearInterval(this.#timer);
    const { credential } = this.#running.record();
    const error = this.#told(isAwaited ? describeError(reason) : this.#givenUp(reason));
    this.#running.end({ credential, error });
    const fields = { ...this.#fields, credential, error, ...this.#numbers() };
    this.#parts.log.warn(fields, isAwaited ? 'a pull failed' : 'a pull was given up');
    // What kubelet gets where it has given a pull up, and where we do not know.
    const status = isAwaited ? grpcStatus.UNKNOWN : grpcStatus.CANCELLED;
    this.#record({ result: 'failed', credential, status, reason: error });
  }

  /** @param given by a rule */
  #told(text: string, given: readonly Untold[] = []): string {
    return toldText(text, [...given, ...(this.#request.untold ?? [])]);
  }

  /** @param reason of the signal: who asked has gone, his time is over, or we are stopped */
  #givenUp(reason: unknown): string {
    const { duration, progress } = this.#running;
    const isSilent = progress === undefined ? this.#parts.tellsProgress === true : progress.bytes === 0;
    const seconds = Math.round(duration / 100) / 10;
    const isPulling = this.#running.record().state === 'pulling';
    const silence = isPulling && isSilent ? '; the registry had sent nothing of it' : '';
    return `given up after ${seconds} s: ${describeError(reason)}${silence}`;
  }

  #tellProgress(): void {
    const { state } = this.#running.record();
    this.#parts.log.info({ ...this.#fields, state, ...this.#numbers() }, 'a pull goes on');
  }

  #tellCredential({ lacking, withoutCredential, noOther, outcome }: Attempted<unknown>): void {
    const { log, metrics } = this.#parts;
    const rule = this.#match?.rule;
    if (lacking !== undefined) {
      if (lacking.isFailure && rule) metrics.credentialFailed(rule.name);
      const fields = { ...this.#fields, reason: lacking.reason };
      log.warn(fields, 'no credential for a pull: the image is asked for without');
    }
    if (withoutCredential !== undefined) {
      const { refused, fault } = withoutCredential;
      const fields = {
        ...this.#fields,
        refused,
        ...(noOther !== undefined && { noOther }),
        ...(fault !== undefined && { without: fault }),
      };
      if (refused === 'not found') {
        // What is to be had with neither is not there: a wrong tag says nothing of the credential.
        if (outcome.ok)
          log.warn(fields, 'the image is not to be had with the credential of a rule, and without it');
        return;
      }
      const end = outcome.ok
        ? 'and the image is to be had without'
        : 'and the image is not to be had without';
      log.warn(fields, `the registry did not take the credential of a rule, ${end}`);
    }
  }

  #numbers(): LogFields {
    const { duration, progress } = this.#running;
    const seconds = Math.round(duration / 100) / 10;
    return {
      seconds,
      ...(progress && { bytes: progress.bytes, layers: `${progress.layers.done}/${progress.layers.total}` }),
    };
  }

  #record(end: Pick<ImagePullEvent, 'result' | 'credential' | 'status' | 'imageRef' | 'reason'>): void {
    const { duration, progress } = this.#running;
    const { pod } = this.#request;
    const { rule, source } = this.#running.record();
    this.#parts.metrics.ended(end.result, end.credential, duration);
    this.#parts.audit?.record({
      event: 'image-pull',
      image: this.#request.image,
      ...(pod && { namespace: pod.namespace, pod: pod.name, podUid: pod.uid }),
      ...(rule !== undefined && { rule }),
      ...(source !== undefined && { source }),
      duration,
      ...(progress && { bytes: progress.bytes }),
      ...end,
    });
  }
}
