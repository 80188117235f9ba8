import { usualAdminSocket } from '../../config/image-service/usual-places.js';
import { explainUnixAddress, parseUnixAddress } from '../../settings/socket-text.js';
import type { CommandProcess } from '../command-process.js';
import { QuestionError } from '../question-error.js';
import { askAdmin } from './ask-admin.js';
import { statusText } from './status-table.js';

export interface StatusOptions {
  readonly config?: string;
  readonly endpoint?: string;
  readonly json: boolean;
}

/**
 * `kubelet-image-service status`: the pulls that run, and the last ones.
 *
 * @throws QuestionError, CommandFailure
 */
export async function showStatus(
  options: StatusOptions,
  { stdout }: Pick<CommandProcess, 'stdout'>,
): Promise<void> {
  const { text, report } = await askAdmin(await adminSocketOf(options));
  stdout.write(options.json ? text : statusText(report, Date.now()));
}

/** @throws QuestionError, CommandFailure */
async function adminSocketOf({ config, endpoint }: StatusOptions): Promise<string> {
  if (config !== undefined && endpoint !== undefined) {
    throw new QuestionError('--config and --endpoint: expected one of them');
  }
  if (config !== undefined) {
    const { requireLoaded } = await import('../require-loaded.js');
    const { loadImageServiceConfiguration } = await import('../../config/image-service/load.js');
    return (await requireLoaded(loadImageServiceConfiguration, config)).admin.socket.path;
  }
  if (endpoint === undefined) return usualAdminSocket;
  const address = parseUnixAddress(endpoint);
  if (address === undefined) throw new QuestionError(`--endpoint: ${explainUnixAddress(endpoint)}`);
  return address.path;
}
