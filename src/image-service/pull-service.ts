import type { CallOptions } from '../contracts/call-options.js';
import type { Clock } from '../contracts/clock.js';
import type { Credential } from '../contracts/credential-source.js';
import { type AskedRule, CredentialAsker } from './ask-credential.js';
import type { CredentialRules, RuleMatch } from './credential-rules.js';
import { adviceFor } from './pull-advice.js';
import type { PullAttempt, PullOutcome } from './pull-attempt.js';
import { type Attempted, tryPull } from './pull-attempts.js';
import type { PullRegister, RunningPull } from './pull-register.js';
import { PullMetrics, PullReport, type ReportParts } from './pull-report.js';
import type { PullRequest } from './pull-request.js';

export interface PullServiceParts extends ReportParts {
  readonly rules: CredentialRules;
  readonly register: PullRegister;
  readonly clock: Clock;
  /** Milliseconds that a pull waits for its credential, all its attempts together. */
  readonly credentialTimeout: number;
}

export interface PullResult<Answer> {
  readonly outcome: PullOutcome<Answer>;
  /** One sentence for the END of the error's text (`withAdvice`): what to do. Without a secret, at most 300 characters. */
  readonly advice?: string;
}

/**
 * Pulls images with the credentials of the rules. Several pulls of one image are each their own: the runtime downloads
 * once.
 */
export class PullService {
  readonly #parts: PullServiceParts;
  readonly #metrics: PullMetrics;

  constructor(parts: PullServiceParts) {
    this.#parts = parts;
    this.#metrics = new PullMetrics(parts.metrics, () => parts.register.running);
  }

  /**
   * @param attempt asks the runtime once
   * @throws the signal's reason, where nobody waits any more; what `attempt` throws, which it should not
   */
  async pull<Answer>(
    request: PullRequest,
    attempt: PullAttempt<Answer>,
    { signal }: CallOptions,
  ): Promise<PullResult<Answer>> {
    signal.throwIfAborted();
    const { rules, register, log, audit, tellsProgress = false } = this.#parts;
    const match = rules.find(request);
    const running = register.begin(request, request.hasOwnCredential ? {} : matched(match));
    const parts = { log, metrics: this.#metrics, tellsProgress, ...(audit && { audit }) };
    const report = new PullReport(parts, request, match, running);
    try {
      const attempted = await this.#try(request, match, attempt, running, signal);
      signal.throwIfAborted();
      const advice = adviceFor({ request, match, rules, attempted });
      report.ended(attempted, advice);
      return { outcome: attempted.outcome, ...(advice !== undefined && { advice }) };
    } catch (error) {
      report.left(error, !signal.aborted);
      throw error;
    }
  }

  #try<Answer>(
    { hasOwnCredential }: PullRequest,
    match: RuleMatch | undefined,
    attempt: PullAttempt<Answer>,
    running: RunningPull,
    signal: AbortSignal,
  ): Promise<Attempted<Answer>> {
    const { clock, credentialTimeout } = this.#parts;
    const asked = match && isAsked(match) ? match : undefined;
    const asker = asked && new CredentialAsker(asked, clock, credentialTimeout);
    const onAccepted = (credential: Credential) => asked && tellAccepted(asked, credential);
    return tryPull(hasOwnCredential, { attempt, ...(asker && { asker }), onAccepted, running, signal });
  }
}

/** Each time: a source may hold it to be refused since before a reload. Whatever it makes of it, the image is there. */
function tellAccepted({ rule }: AskedRule, credential: Credential): void {
  try {
    rule.credentials.source.accepted?.(credential);
  } catch {}
}

function isAsked(match: RuleMatch): match is AskedRule {
  return match.rule.credentials !== undefined;
}

function matched(match: RuleMatch | undefined): { readonly rule?: string; readonly source?: string } {
  if (match === undefined) return {};
  const { name, credentials } = match.rule;
  return { rule: name, ...(credentials && { source: credentials.type }) };
}
