import type { Credential } from '../contracts/credential-source.js';
import { sameCredential } from '../decorators/same-credential.js';
import type { AskedCredential, CredentialAsker } from './ask-credential.js';
import type { PullAttempt, PullFault, PullOutcome } from './pull-attempt.js';
import type { RunningPull, ShownCredential } from './pull-register.js';

/** What the attempts of one pull came to. */
export interface Attempted<Answer> {
  /** What is told: of several failures that of the attempt with a credential, for this is what somebody has to mend. */
  readonly outcome: PullOutcome<Answer>;
  /** What was shown in it. */
  readonly shown: ShownCredential;
  /** All that a rule gave: none of it may appear in a text. */
  readonly given: readonly Credential[];
  /** Why the rule's source gave none. */
  readonly lacking?: { readonly reason: string; readonly isFailure: boolean };
  /** Why the source could not be asked for another one than was refused. */
  readonly noOther?: string;
  /** The rule's credential was refused, and the image was asked for without. */
  readonly withoutCredential?: { readonly refused: PullFault; readonly fault?: PullFault };
}

export interface AttemptsParts<Answer> {
  readonly attempt: PullAttempt<Answer>;
  /** Absent: there is no credential to ask for. */
  readonly asker?: CredentialAsker;
  /** The registry let us in with it. */
  readonly onAccepted: (credential: Credential) => void;
  readonly running: RunningPull;
  readonly signal: AbortSignal;
}

/** Public images are to be had without a credential, and not with one that has gone bad. */
const triedWithout: ReadonlySet<PullFault> = new Set(['unauthorized', 'denied', 'not found']);

/**
 * Asks the runtime at most three times: with the rule's credential; where the registry refuses it and the source has
 * another, with that; and as kubelet asked. Nothing else is repeated, for kubelet does that by itself.
 *
 * @param hasOwn kubelet sent a credential: it is asked once, with nothing changed
 * @throws the signal's reason; what `attempt` throws
 */
export async function tryPull<Answer>(
  hasOwn: boolean,
  parts: AttemptsParts<Answer>,
): Promise<Attempted<Answer>> {
  const attempts = new Attempts(parts);
  const { given } = attempts;
  if (hasOwn) return { outcome: await attempts.pull('kubelet'), shown: 'kubelet', given };
  if (parts.asker === undefined) return { outcome: await attempts.pull('none'), shown: 'none', given };
  const asked = await attempts.ask(parts.asker);
  if (!('credential' in asked)) {
    const lacking = { reason: asked.lacking, isFailure: asked.isFailure };
    return { outcome: await attempts.pull('none'), shown: 'none', given, lacking };
  }
  const tried = await tryWith(asked.credential, attempts, parts.asker);
  const { outcome } = tried;
  if (outcome.ok || !triedWithout.has(outcome.fault)) return { ...tried, shown: 'rule', given };
  const last = await attempts.pull('none');
  const withoutCredential = { refused: outcome.fault, ...(!last.ok && { fault: last.fault }) };
  return last.ok
    ? { ...tried, outcome: last, shown: 'none', given, withoutCredential }
    : { ...tried, shown: 'rule', given, withoutCredential };
}

/** With the credential, and where it is refused once more with another one. */
async function tryWith<Answer>(
  credential: Credential,
  attempts: Attempts<Answer>,
  asker: CredentialAsker,
): Promise<Pick<Attempted<Answer>, 'outcome' | 'noOther'>> {
  const outcome = await attempts.pull('rule', credential);
  if (outcome.ok || outcome.fault !== 'unauthorized') return { outcome };
  const other = await attempts.ask(asker, credential);
  if (!('credential' in other)) return { outcome, ...(other.isFailure && { noOther: other.lacking }) };
  if (sameCredential(other.credential, credential)) return { outcome };
  return { outcome: await attempts.pull('rule', other.credential) };
}

/** The single steps of a pull, as the register is told of them. */
class Attempts<Answer> {
  readonly given: Credential[] = [];
  readonly #parts: AttemptsParts<Answer>;

  constructor(parts: AttemptsParts<Answer>) {
    this.#parts = parts;
  }

  async pull(shown: ShownCredential, credential?: Credential): Promise<PullOutcome<Answer>> {
    const { attempt, onAccepted, running, signal } = this.#parts;
    signal.throwIfAborted();
    running.pulling(shown);
    const onProgress = running.progressed.bind(running);
    const outcome = await attempt({ signal, onProgress, ...(credential && { credential }) });
    if (outcome.ok && credential) onAccepted(credential);
    return outcome;
  }

  async ask(asker: CredentialAsker, rejected?: Credential): Promise<AskedCredential> {
    const { running, signal } = this.#parts;
    running.askingForCredential();
    const asked = await asker.ask({ signal, ...(rejected && { rejected }) });
    if ('credential' in asked) this.given.push(asked.credential);
    return asked;
  }
}
