/**
 * `expired`: begin anew: too late, in another browser, or signed in no more. `denied`: the person or the provider said
 * no. `refused`: known to the provider, and not let in here. `invalid`: what was asked for cannot be had (a label, a
 * life, one token too many). `unavailable`: not now.
 */
export type SignInFailure = 'expired' | 'denied' | 'refused' | 'invalid' | 'unavailable';

/** What a browser is shown: the message is a sentence that is safe for a page. */
export class SignInError extends Error {
  override readonly name = 'SignInError';
  readonly kind: SignInFailure;
  /** For operators, in our own words: goes to the log and the audit log. Never holds a secret. */
  readonly reason: string;
  /** What the provider, or another program, said of it: goes to the log only. Never holds a secret. */
  readonly said: string | undefined;

  constructor(kind: SignInFailure, message: string, reason: string, said?: string) {
    super(message);
    this.kind = kind;
    this.reason = reason;
    this.said = said;
  }
}
