import { RegistryError } from '../../errors.js';
import { SignInError, type SignInFailure } from '../../sign-in/sign-in-error.js';
import type { NextStep } from './error-page.js';

const kinds = {
  expired: { code: 'UNAUTHORIZED', status: 400 },
  denied: { code: 'DENIED', status: 403 },
  refused: { code: 'DENIED', status: 403 },
  invalid: { code: 'UNSUPPORTED', status: 400 },
  unavailable: { code: 'UNAVAILABLE', status: 503 },
} as const satisfies Record<SignInFailure, unknown>;

/** The same error as the logs and the table of errors know it; what is none of both is a bug, and becomes UNKNOWN. */
export function knownError(error: unknown): RegistryError {
  if (error instanceof RegistryError) return error;
  if (!(error instanceof SignInError)) return new RegistryError('UNKNOWN');
  const { kind, message, reason, said } = error;
  const { code, status } = kinds[kind];
  // As the cause, which the log tells and the audit log does not.
  const cause = said === undefined ? undefined : new Error(said);
  return new RegistryError(code, { status, message, reason, cause });
}

/** What a person can do about an error. */
export function nextStep(error: unknown): NextStep {
  if (error instanceof SignInError) return signInSteps[error.kind];
  return knownError(error).status >= 429 ? 'later' : 'back';
}

const signInSteps: Readonly<Record<SignInFailure, NextStep>> = {
  expired: 'sign-in',
  denied: 'sign-in',
  refused: 'sign-in',
  invalid: 'back',
  unavailable: 'later',
};
