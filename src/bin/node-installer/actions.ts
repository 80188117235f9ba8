import { resolve } from 'node:path';
import { type InstallResult, isFailure } from '../../node-installer/result.js';
import { CommandFailure } from '../command-failure.js';
import type { CommandProcess } from '../command-process.js';
import { exitCodes } from '../exit.js';
import { QuestionError } from '../question-error.js';
import { type InstallOptions, nodePath, type RunOptions } from './install-options.js';

/** `install`, in each of its ways. @throws QuestionError, CommandFailure, an Error of one line */
export async function install(options: InstallOptions & RunOptions, own: CommandProcess): Promise<void> {
  checkRun(options);
  if (options.dryRun) {
    const { showInstallPlan } = await import('./plan-command.js');
    return showInstallPlan(options, own);
  }
  if (options.executable === undefined) await requireExecutable();
  if (options.inside) {
    const { installInside } = await import('./inside.js');
    return installInside(options, own);
  }
  if (isTree(options.root)) {
    const [{ installInTree }, { readDesired }, { HostFiles }] = await Promise.all([
      import('./written-tree.js'),
      import('./desired.js'),
      import('./host-files.js'),
    ]);
    return installInTree(new HostFiles(resolve(options.root)), await readDesired(options), own);
  }
  const { installOnce, tellResult } = await import('./run-command.js');
  if (!options.stay) return tellResult(await installOnce(options), own);
  return stayWith(options, () => installOnce({ ...options, patient: true }), own);
}

/** `uninstall`, in each of its ways. @throws QuestionError, CommandFailure, an Error of one line */
export async function uninstall(
  options: Pick<InstallOptions, 'root' | 'dryRun' | 'directory' | 'executable'> & RunOptions,
  own: CommandProcess,
): Promise<void> {
  checkRun(options);
  if (options.dryRun) {
    const { showUninstallPlan } = await import('./plan-command.js');
    return showUninstallPlan(options.root, own);
  }
  if (options.inside) {
    const { uninstallInside } = await import('./inside.js');
    return uninstallInside(options, own);
  }
  if (isTree(options.root)) {
    const [{ uninstallInTree }, { HostFiles }] = await Promise.all([
      import('./written-tree.js'),
      import('./host-files.js'),
    ]);
    return uninstallInTree(new HostFiles(resolve(options.root)), own);
  }
  const { isInstalled, tellResult, uninstallOnce } = await import('./run-command.js');
  if (!options.stay) return tellResult(await uninstallOnce(options), own);
  let last: InstallResult | undefined;
  const again = async () => {
    // The executable is large: it is not copied to the node every five minutes for nothing.
    if (last !== undefined && !isFailure(last) && !(await isInstalled(options))) return last;
    last = await uninstallOnce(options);
    return last;
  };
  return stayWith(options, again, own);
}

/** A script that Node runs cannot run by itself on a node. @throws CommandFailure */
async function requireExecutable(): Promise<void> {
  const { isSea } = await import('node:sea');
  if (isSea()) return;
  throw new CommandFailure(
    'this program is run by Node: expected the self-contained executable, which is what is copied to the node; or name it with --executable',
    exitCodes.failed,
  );
}

const isTree = (root: string) => resolve(root) !== '/';

/** @throws QuestionError */
function checkRun({
  root,
  directory,
  nodeDirectory,
  stay,
  readyFile,
  dryRun,
  inside,
}: RunOptions & Pick<InstallOptions, 'root' | 'dryRun' | 'directory' | 'executable'>): void {
  if (directory !== undefined) nodePath('--directory', directory);
  if (readyFile !== undefined && !stay) throw new QuestionError('--ready-file: expected --stay with it');
  const ways = [
    isTree(root) && '--root',
    nodeDirectory !== undefined && '--node-directory',
    inside && '--inside',
  ];
  const chosen = ways.filter(Boolean);
  if (chosen.length > 1) throw new QuestionError(`${chosen.join(' and ')}: expected one of them`);
  if (stay && (dryRun || inside || isTree(root))) {
    throw new QuestionError('--stay: expected neither --dry-run nor --inside nor --root with it');
  }
}

async function stayWith(
  { readyFile, config }: RunOptions & { readonly config?: string },
  run: Parameters<typeof import('./stay.js').stay>[0]['run'],
  own: CommandProcess,
): Promise<void> {
  const [{ stay }, { systemTime }] = await Promise.all([import('./stay.js'), import('./node-parts.js')]);
  const stop = new AbortController();
  // As the first process of a container it would not be ended by them otherwise.
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => process.exit(0));
  await stay({ readyFile, config, run, clock: systemTime, stop: stop.signal }, own);
}
