import type { NodeFiles } from '../../contracts/node.js';
import { JournalFile } from '../../node-installer/journal.js';
import { observe } from '../../node-installer/observe.js';
import { type InstallResult, isFailure, resultPath } from '../../node-installer/result.js';
import { readNode } from '../../node-installer/snapshot.js';
import { CommandFailure } from '../command-failure.js';
import type { CommandProcess } from '../command-process.js';
import { exitCodes } from '../exit.js';
import { readDesired } from './desired.js';
import { HostFiles } from './host-files.js';
import { AtWorkError, type HostRun, runOnHost } from './host-run.js';
import { type InstallOptions, installWords, type RunOptions } from './install-options.js';
import { connectSystemd, systemTime } from './node-parts.js';
import { ownProgram } from './own-program.js';
import { journalDirectory } from './places.js';
import { clearIncoming, removeIncoming, stage } from './staging.js';

// `install` and `uninstall` as they are called: they start the one that works, and tell what became of it.

/** Where it works. */
export interface Host {
  /** Of the node, as far as they can be seen from here. */
  readonly files: NodeFiles;
  /** @throws as `runOnHost` */
  run(host: HostRun): Promise<InstallResult>;
}

export async function installOnce(
  options: InstallOptions & RunOptions,
  host: Host = hostOf(options),
): Promise<InstallResult> {
  const { nodeDirectory, patient } = options;
  const desired = await readDesired(options);
  const more = patient ? ['--patient'] : [];
  if (nodeDirectory === undefined) {
    const { stateDirectory } = observe(await readNode(host.files), desired);
    const { executable } = desired;
    const words = [...installWords(options, options.config && absolute(options.config), executable), ...more];
    return host.run({ command: 'install', executable, stateDirectory, words });
  }
  const { mode, executable, configuration, configurationName, directory } = desired;
  // In pod mode it is the pod's, and nothing of it has to be on the node.
  const isNeeded = mode !== 'pod' && configuration.size > 0;
  const staged = await stage({
    ...{ nodeDirectory, directory, executable },
    ...(isNeeded && { configuration: { name: configurationName, files: configuration } }),
  });
  const { stateDirectory } = staged;
  const words = [...installWords(options, staged.configuration, staged.executable), ...more];
  const run = { command: 'install', executable: staged.executable, stateDirectory, words } as const;
  const clear = () => clearIncoming(host.files, staged).catch(() => undefined);
  return ended(host.run(run), clear);
}

/** What becomes of a run, after `clear` unless an installer is still at work. */
async function ended(run: Promise<InstallResult>, clear: () => Promise<void>): Promise<InstallResult> {
  try {
    const result = await run;
    await clear();
    return result;
  } catch (error) {
    if (!(error instanceof AtWorkError)) await clear();
    throw error;
  }
}

export async function uninstallOnce(
  options: RunOptions & Pick<InstallOptions, 'directory' | 'executable'>,
  { files, run }: Host = hostOf(options),
): Promise<InstallResult> {
  const { nodeDirectory, directory } = options;
  const executable = options.executable ?? (await ownProgram());
  const host: HostRun =
    nodeDirectory === undefined
      ? { command: 'uninstall', executable, stateDirectory: await presentState(files), words: [] }
      : { command: 'uninstall', ...(await stage({ nodeDirectory, directory, executable })), words: [] };
  const { stateDirectory } = host;
  const journal = await new JournalFile(files, stateDirectory).load().catch(() => undefined);
  const directories = [directory, journal?.installed?.directory].filter((one) => one !== undefined);
  const result = await run(host);
  if (isFailure(result)) return result;
  // It has been read, and nothing of ours is to stay.
  await files.remove(resultPath(stateDirectory));
  await removeIncoming(files, directories);
  return result;
}

async function presentState(files: NodeFiles): Promise<string> {
  return (await journalDirectory(files)) ?? observe(await readNode(files)).stateDirectory;
}

/** Whether there is something that `uninstall` would take away, as far as the mounted directories tell. */
export async function isInstalled({ nodeDirectory = '/' }: RunOptions): Promise<boolean> {
  return (await journalDirectory(new HostFiles(nodeDirectory))) !== undefined;
}

function hostOf({ systemd: socket, nodeDirectory }: RunOptions): Host {
  const files = new HostFiles(nodeDirectory ?? '/');
  const run = async (host: HostRun) => {
    const systemd = await connectSystemd(socket);
    try {
      return await runOnHost(host, { systemd, files, clock: systemTime });
    } finally {
      await systemd.close().catch(() => undefined);
    }
  };
  return { files, run };
}

const absolute = (path: string) => (path.startsWith('/') ? path : `${process.cwd()}/${path}`);

/** What became of a run, for people. */
export function resultText({ command, verdict, reasons, done, kept }: InstallResult): string {
  return [
    `${command}: ${verdict}`,
    ...reasons.map((reason) => `  ${reason}`),
    ...done.map((sentence) => `  done: ${sentence}`),
    ...kept.map((path) => `  kept, for it is not as we wrote it: ${path}`),
    '',
  ].join('\n');
}

/** @throws CommandFailure where it failed: what became of it is told by then */
export function tellResult(result: InstallResult, own: CommandProcess): void {
  own.stdout.write(resultText(result));
  if (isFailure(result)) throw new CommandFailure('see above', exitCodes.failed);
}
