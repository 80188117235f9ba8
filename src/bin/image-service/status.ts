import { usualAdminSocket } from '../../config/image-service/usual-places.js';
import { explainUnixAddress, parseUnixAddress } from '../../settings/socket-text.js';
import type { CommandProcess } from '../command-process.js';
import { HostFiles } from '../node-installer/host-files.js';
import { type NodeReport, nodeReport, nodeText } from '../node-installer/node-status.js';
import { QuestionError } from '../question-error.js';
import { askAdmin } from './ask-admin.js';
import { statusText } from './status-table.js';

export interface StatusOptions {
  readonly config?: string;
  readonly endpoint?: string;
  readonly json: boolean;
  /** Of the node; for tests. */
  readonly root?: string;
}

/**
 * `kubelet-image-service status`: the pulls that run, and the last ones; before them, where it is installed on this node
 * and no other service is asked for, what of it works there.
 *
 * @throws QuestionError, CommandFailure
 */
export async function showStatus(
  options: StatusOptions,
  { stdout }: Pick<CommandProcess, 'stdout'>,
): Promise<void> {
  const node = await nodeOf(options);
  // There is no service to ask: kubelet starts us for each pull.
  const isPlugin = node?.mode === 'credential-provider' && isUndirected(options);
  if (node !== undefined && !options.json) stdout.write(`${nodeText(node)}${isPlugin ? '' : '\n'}`);
  if (isPlugin) {
    if (options.json) stdout.write(`${JSON.stringify({ node }, undefined, 2)}\n`);
    return;
  }
  const { text, report } = await askAdmin(await adminSocketOf(options)).catch((error: unknown) => {
    if (node !== undefined && options.json) stdout.write(`${JSON.stringify({ node }, undefined, 2)}\n`);
    throw error;
  });
  if (!options.json) stdout.write(statusText(report, Date.now()));
  else stdout.write(node === undefined ? text : `${JSON.stringify({ ...report, node }, undefined, 2)}\n`);
}

const isUndirected = ({ config, endpoint }: StatusOptions) => config === undefined && endpoint === undefined;

/** What is installed on this node, where the question is about it. Never rejects. */
async function nodeOf({ root = '/', ...options }: StatusOptions): Promise<NodeReport | undefined> {
  if (!isUndirected(options)) return undefined;
  return nodeReport(new HostFiles(root));
}

/** @throws QuestionError, CommandFailure */
async function adminSocketOf({ config, endpoint }: StatusOptions): Promise<string> {
  if (config !== undefined && endpoint !== undefined) {
    throw new QuestionError('--config and --endpoint: expected one of them');
  }
  if (config !== undefined) {
    const { requireLoaded } = await import('../require-loaded.js');
    const { loadImageServiceConfiguration } = await import('../../config/image-service/load.js');
    const load = (file: string) =>
      loadImageServiceConfiguration(file, undefined, undefined, ['exec', 'module']);
    return (await requireLoaded(load, config)).admin.socket.path;
  }
  if (endpoint === undefined) return usualAdminSocket;
  const address = parseUnixAddress(endpoint);
  if (address === undefined) throw new QuestionError(`--endpoint: ${explainUnixAddress(endpoint)}`);
  return address.path;
}
