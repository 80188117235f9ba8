import type { Configuration } from '../config/configuration.js';
import { duration } from '../settings/duration.js';
import { connectionReport, hasFailed } from './check-connect-table.js';
import { tryConnections } from './check-connect-tries.js';
import { exitCodes, fail } from './exit.js';
import type { Surroundings } from './opener.js';
import { QuestionError } from './question-error.js';
import { stopSignal } from './signals.js';

const defaultTimeout = '30s';

/** @returns milliseconds. @throws QuestionError */
export function connectTimeout({
  connect,
  timeout,
}: {
  readonly connect: boolean;
  readonly timeout?: string;
}): number {
  if (timeout !== undefined && !connect) throw new QuestionError('--timeout: it belongs to --connect');
  const parsed = duration({ min: '1s', max: '1h' }).safeParse(timeout ?? defaultTimeout);
  if (parsed.success) return parsed.data;
  throw new QuestionError(`--timeout: ${parsed.error.issues[0]?.message}`);
}

/** Columns: of a terminal its own, with room for the least that a table needs. */
function widthOf({ isTTY, columns }: NodeJS.WriteStream): number {
  return isTTY ? Math.max(80, columns) : 100;
}

/**
 * `check --connect`: gets in at every upstream, and says what works and what to fix. Ends the process with 1 where one
 * failed, or where it is interrupted.
 *
 * @param timeout milliseconds for each
 * @throws OpeningError
 */
export async function checkConnections(
  configuration: Configuration,
  surroundings: Surroundings,
  timeout: number,
): Promise<void> {
  const stop = stopSignal();
  process.stderr.write(
    'connecting: each registry is asked for /v2/, and is shown its credentials, as its token endpoint is; no repository is asked for\n',
  );
  try {
    const connections = await tryConnections(configuration, surroundings, {
      signal: stop,
      timeLimit: timeout,
    });
    process.stdout.write(connectionReport(connections, widthOf(process.stdout)));
    if (connections.some(hasFailed)) process.exitCode = exitCodes.failed;
  } catch (error) {
    if (stop.aborted) fail(`ended by ${stop.reason}`, exitCodes.failed);
    throw error;
  }
}
