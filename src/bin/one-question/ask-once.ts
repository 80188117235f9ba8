import { untilAborted } from '../../decorators/single-flight.js';
import { describeError } from '../../errors.js';
import { HelperError } from './helper-error.js';

/** Milliseconds after the time is over, for what does not look at the signal. */
const grace = 1_000;

/** What a program of one question ends with. */
export interface Ending {
  /** The answer; where the code is not 0, what is wrong. */
  readonly text: string;
  readonly code: number;
}

export interface QuestionLimits {
  /** Whoever aborts it says why by a HelperError. */
  readonly stop: AbortController;
  /** Milliseconds for everything. */
  readonly patience: number;
}

/**
 * One question and its answer. What is under way when time is over is to end first: programs that were started for it
 * end with it. Never rejects.
 */
export async function askOnce(
  answer: (signal: AbortSignal) => Promise<string>,
  { stop, patience }: QuestionLimits,
): Promise<Ending> {
  const { signal } = stop;
  const over = new AbortController();
  const timers = [
    setTimeout(() => stop.abort(new HelperError(`no credential within ${patience / 1000} s`)), patience),
  ];
  const giveUp = () => timers.push(setTimeout(() => over.abort(), grace));
  signal.addEventListener('abort', giveUp, { once: true });
  try {
    return { text: await untilAborted(answer(signal), over.signal), code: 0 };
  } catch (error) {
    const told: unknown = signal.aborted ? signal.reason : error;
    const { message, code } = told instanceof HelperError ? told : new HelperError(describeError(told));
    return { text: message, code };
  } finally {
    signal.removeEventListener('abort', giveUp);
    for (const timer of timers) clearTimeout(timer);
  }
}
