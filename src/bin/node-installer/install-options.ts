import { resolve } from 'node:path';
import type { CodeSource } from '../../config/image-service/allowed-code.js';
import { usualSocket } from '../../config/image-service/usual-places.js';
import type { InstallMode } from '../../node-installer/node.js';
import { parseUnixAddress } from '../../settings/socket-text.js';
import { QuestionError } from '../question-error.js';

/** Of `plan` and `install`, as they stand on the command line. */
export interface InstallOptions {
  readonly mode: InstallMode;
  readonly config?: string;
  readonly root: string;
  readonly dryRun?: boolean;
  readonly directory?: string;
  readonly socket: string;
  readonly chain: boolean;
  readonly allow: readonly CodeSource[];
  readonly executable?: string;
}

/** Of `install` and `uninstall`: where and how they run. */
export interface RunOptions {
  readonly nodeDirectory?: string;
  readonly stay?: boolean;
  readonly readyFile?: string;
  readonly systemd?: string;
  readonly inside?: boolean;
  /** For `--inside`: by which whoever waits knows its result, and where he looks for it. */
  readonly run?: string;
  readonly state?: string;
  /** For `--inside`: what failed is not tried again at once. */
  readonly patient?: boolean;
}

/** @returns its path. @throws QuestionError */
export function socketPath(socket: string): string {
  const path = parseUnixAddress(socket.startsWith('/') ? `unix://${socket}` : socket)?.path;
  if (path !== undefined && !/[\s"'$%\\]/.test(path)) return path;
  throw new QuestionError(`--socket: expected a path such as ${usualSocket}, without spaces and quotes`);
}

/** @throws QuestionError */
export function nodePath(option: string, path: string): string {
  if (path.startsWith('/') && resolve(path) === path && !/[\s"'$%\\]/.test(path)) return path;
  throw new QuestionError(`${option}: expected an absolute path without spaces and quotes`);
}

/** The same command line for a process on the node. */
export function installWords(
  options: InstallOptions,
  config: string | undefined,
  executable: string,
): string[] {
  const { mode, directory, socket, chain, allow } = options;
  return [
    ...['--mode', mode],
    ...(config === undefined ? [] : ['--config', config]),
    ...(directory === undefined ? [] : ['--directory', directory]),
    ...['--socket', socket],
    ...(chain ? ['--chain'] : []),
    ...allow.flatMap((kind) => ['--allow', kind]),
    ...['--executable', executable],
  ];
}
