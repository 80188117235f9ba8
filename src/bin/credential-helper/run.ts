import { untilAborted } from '../../decorators/single-flight.js';
import { askOnce, type Ending } from '../one-question/ask-once.js';
import { readRequest } from '../one-question/read-request.js';
import { stderrLog } from '../one-question/stderr-log.js';
import { answerTo } from './commands.js';

/** Milliseconds for everything. docker waits for ever. */
export const usualPatience = 25_000;

const logNames = {
  program: 'docker-credential-registry-proxy',
  variable: 'DOCKER_CREDENTIAL_REGISTRY_PROXY_DEBUG',
};

/** What a process is to this program. */
export interface HelperProcess {
  readonly env: NodeJS.ProcessEnv;
  readonly stdin: AsyncIterable<Uint8Array>;
  readonly stderr: { write(line: string): unknown };
}

export interface HelperLimits {
  /** Whoever aborts it says why by a HelperError. */
  readonly stop: AbortController;
  /** Milliseconds. */
  readonly patience?: number;
}

/**
 * One question and its answer, which is for standard output whatever its code.
 *
 * @param args of the program
 */
export function runHelper(
  args: readonly string[],
  { env: environment, stdin, stderr }: HelperProcess,
  { stop, patience = usualPatience }: HelperLimits,
): Promise<Ending> {
  const log = stderrLog(environment, stderr, logNames);
  return askOnce(
    (signal) =>
      answerTo(args, {
        request: () => untilAborted(readRequest(stdin), signal),
        ...{ environment, log, signal },
      }),
    { stop, patience },
  );
}
