import { type IncomingMessage, request } from 'node:http';
import { hasCode } from '../../errors.js';
import { parseJsonObject } from '../../protocol/json-object.js';
import { readBounded } from '../../protocol/read-bounded.js';
import { CommandFailure } from '../command-failure.js';
import { exitCodes } from '../exit.js';
import type { ServiceReport } from './service-report.js';

/** Milliseconds for all of it: it waits two seconds itself for an engine. */
const timeLimit = 10_000;
/** Bytes: some hundred pulls, each text of which is bounded. */
const maxSize = 4 * 1024 * 1024;

const notOurs = 'another program listens there, not kubelet-image-service: expected its admin.socket';

/** What a running image service says of itself. @throws CommandFailure with one line */
export async function askAdmin(
  path: string,
): Promise<{ readonly text: string; readonly report: ServiceReport }> {
  const text = await readPage(path, '/pulls').catch((error: unknown) => {
    throw new CommandFailure(`unix://${path}: ${reasonOf(error)}`, exitCodes.failed, { cause: error });
  });
  const report = parsed(text);
  if (report === undefined) {
    throw new CommandFailure(`unix://${path}: ${notOurs}`, exitCodes.failed);
  }
  return { text, report };
}

function readPage(socketPath: string, path: string): Promise<string> {
  const signal = AbortSignal.timeout(timeLimit);
  return new Promise((resolve, reject) => {
    const options = { socketPath, path, signal, agent: false, headers: { host: 'localhost' } };
    const asked = request(options, (response) => {
      bodyOf(response).then(resolve, reject);
    });
    asked.on('error', reject).end();
  });
}

async function bodyOf(response: IncomingMessage): Promise<string> {
  const bytes = await readBounded(response, maxSize, timeLimit);
  if (bytes === undefined) throw new Error(`it says more than ${maxSize} bytes`);
  return bytes.toString();
}

function reasonOf(error: unknown): string {
  if (hasCode(error, 'ENOENT')) return 'there is no such socket: is kubelet-image-service running?';
  if (hasCode(error, 'ECONNREFUSED')) return 'nobody listens there: kubelet-image-service is not running';
  if (hasCode(error, 'EACCES') || hasCode(error, 'EPERM'))
    return 'this user may not connect to it: try as root';
  if (hasCode(error, 'ABORT_ERR')) return `no answer within ${timeLimit / 1000} s`;
  if (hasCode(error, 'EPIPE') || hasCode(error, 'ECONNRESET'))
    return 'the connection was cut: does it stop just now?';
  const isUnparsed = error instanceof Error && /^HPE_/.test((error as NodeJS.ErrnoException).code ?? '');
  if (isUnparsed) return notOurs;
  return error instanceof Error ? error.message : String(error);
}

/** @returns undefined where it is not what this program says */
function parsed(text: string): ServiceReport | undefined {
  const value = parseJsonObject(text) as Partial<ServiceReport> | undefined;
  const isOurs =
    value?.program === 'kubelet-image-service' &&
    [value.running, value.recent, value.rules].every((list) => Array.isArray(list));
  return isOurs ? (value as ServiceReport) : undefined;
}
