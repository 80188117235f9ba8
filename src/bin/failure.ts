import { CommanderError } from 'commander';
import { describeError } from '../errors.js';
import { CommandFailure } from './command-failure.js';
import { exitCodes } from './exit.js';
import { OpeningError } from './opener.js';
import { QuestionError } from './question-error.js';

/** What a command that threw this tells, and its exit code. Where `message` is absent it was told already. */
export function failureOf(error: unknown): { readonly message?: string; readonly code: number } {
  if (error instanceof CommanderError) {
    return { code: error.exitCode === 0 ? exitCodes.fine : exitCodes.usage };
  }
  if (error instanceof CommandFailure) return { message: error.message, code: error.code };
  const isAsked = error instanceof QuestionError || error instanceof OpeningError;
  if (isAsked) return { message: error.message, code: exitCodes.usage };
  return { message: describeError(error), code: exitCodes.failed };
}
