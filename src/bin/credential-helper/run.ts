import { untilAborted } from '../../decorators/single-flight.js';
import { describeError } from '../../errors.js';
import { answerTo } from './commands.js';
import { HelperError, readRequest } from './protocol.js';
import { stderrLog } from './stderr-log.js';

/** Milliseconds for everything. docker waits for ever. */
export const usualPatience = 25_000;
/** Milliseconds after that, for what does not look at the signal. */
const grace = 1_000;

/** What a process is to this program. */
export interface HelperProcess {
  readonly env: NodeJS.ProcessEnv;
  readonly stdin: AsyncIterable<Uint8Array>;
  readonly stderr: { write(line: string): unknown };
}

export interface Ending {
  /** For standard output; empty where there is nothing to say. */
  readonly text: string;
  readonly code: number;
}

export interface HelperLimits {
  /** Whoever aborts it says why by a HelperError. */
  readonly stop: AbortController;
  /** Milliseconds. */
  readonly patience?: number;
}

/**
 * One question and its answer. What is under way when time is over is to end first: programs that were started for it
 * end with it.
 *
 * @param args of the program
 */
export async function runHelper(
  args: readonly string[],
  { env: environment, stdin, stderr }: HelperProcess,
  { stop, patience = usualPatience }: HelperLimits,
): Promise<Ending> {
  const { signal } = stop;
  const over = new AbortController();
  const timers = [
    setTimeout(() => stop.abort(new HelperError(`no credential within ${patience / 1000} s`)), patience),
  ];
  const giveUp = () => timers.push(setTimeout(() => over.abort(), grace));
  signal.addEventListener('abort', giveUp, { once: true });
  const answer = answerTo(args, {
    request: () => untilAborted(readRequest(stdin), signal),
    environment,
    log: stderrLog(environment, stderr),
    signal,
  });
  try {
    return { text: await untilAborted(answer, over.signal), code: 0 };
  } catch (error) {
    const told: unknown = signal.aborted ? signal.reason : error;
    const { message, code } = told instanceof HelperError ? told : new HelperError(describeError(told));
    return { text: message, code };
  } finally {
    signal.removeEventListener('abort', giveUp);
    for (const timer of timers) clearTimeout(timer);
  }
}
