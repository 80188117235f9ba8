import type { NodeFiles, Systemd } from '../../contracts/node.js';
import { describeError } from '../../errors.js';
import { type GuardOptions, runGuard } from '../../node-installer/guard.js';
import { Installation } from '../../node-installer/installation.js';
import { observe } from '../../node-installer/observe.js';
import { usualPlanning } from '../../node-installer/planning.js';
import { type InstallResult, isFailure, type Outcome, writeResult } from '../../node-installer/result.js';
import { readNode } from '../../node-installer/snapshot.js';
import { createLog } from '../../observability/pino-log.js';
import { CommandFailure } from '../command-failure.js';
import type { CommandProcess } from '../command-process.js';
import { exitCodes } from '../exit.js';
import { version } from '../version.js';
import { readDesired } from './desired.js';
import { HostFiles } from './host-files.js';
import type { InstallOptions, RunOptions } from './install-options.js';
import { connectSystemd, nodePorts } from './node-parts.js';
import { journalDirectory } from './places.js';

// What runs on the node itself, as a transient unit: standard error is the journal of systemd.

/** `install --inside`. @throws CommandFailure where it failed */
export function installInside(options: InstallOptions & RunOptions, own: CommandProcess): Promise<void> {
  return act('install', options, own, async (installation) => {
    const desired = await readDesired(options).catch(asRefusal);
    if ('verdict' in desired) return desired;
    return installation.install(desired, { isPatient: options.patient ?? false });
  });
}

/** `uninstall --inside`. @throws CommandFailure where it failed */
export function uninstallInside(options: RunOptions, own: CommandProcess): Promise<void> {
  return act('uninstall', options, own, (installation) => installation.uninstall());
}

/** `roll-back`. @throws CommandFailure where it failed */
export function rollBackInside(
  { unit, ...options }: RunOptions & { readonly unit?: string },
  own: CommandProcess,
): Promise<void> {
  return act('roll-back', options, own, (installation) => installation.rollBack(unit));
}

/** `guard`. @throws an Error of one line */
export async function guardInside(
  { systemd, ...options }: GuardOptions & RunOptions,
  own: CommandProcess,
): Promise<void> {
  const log = createLog('info', own.stderr);
  const connected = await connectSystemd(systemd);
  try {
    await runGuard(nodePorts(new HostFiles('/'), connected, log), options);
  } finally {
    await connected.close();
  }
}

async function act(
  command: InstallResult['command'],
  { run = '', state, systemd: socket }: RunOptions,
  own: CommandProcess,
  work: (installation: Installation) => Promise<Outcome>,
): Promise<void> {
  const files = new HostFiles('/');
  let systemd: Systemd | undefined;
  let outcome: Outcome;
  let stateDirectory = state;
  try {
    const present = await stateDirectoryOf(files);
    stateDirectory ??= present;
    systemd = await connectSystemd(socket);
    const log = createLog('info', own.stderr);
    const ports = { ...nodePorts(files, systemd, log), planning: usualPlanning };
    outcome =
      stateDirectory === present
        ? await work(new Installation({ ...ports, stateDirectory }))
        : refused(
            `this node keeps our files in ${present}, and ${stateDirectory} was given: expected the directories of its platform`,
          );
  } catch (error) {
    outcome = { ...refused(describeError(error)), verdict: 'failed' };
  } finally {
    await systemd?.close().catch(() => undefined);
  }
  await tell(files, stateDirectory, { ...outcome, run, command, version, at: new Date().toISOString() });
  // It has done what it is for, and need not be started again.
  const isDone = command === 'roll-back' && outcome.verdict === 'rolled back';
  if (isDone || !isFailure(outcome)) return;
  throw new CommandFailure(
    [`${command}: ${outcome.verdict}`, ...outcome.reasons].join('\n  '),
    exitCodes.failed,
  );
}

/** A full disk must not hide what became of the node: the journal of systemd has it too. */
async function tell(files: NodeFiles, stateDirectory: string | undefined, result: InstallResult) {
  if (stateDirectory === undefined) return;
  // A rollback that came too late says nothing about the run before it.
  if (result.command === 'roll-back' && result.verdict === 'nothing to do') return;
  await writeResult(files, stateDirectory, result).catch(() => undefined);
}

async function stateDirectoryOf(files: NodeFiles): Promise<string> {
  return (await journalDirectory(files)) ?? observe(await readNode(files)).stateDirectory;
}

const refused = (reason: string): Outcome => ({
  ...{ verdict: 'refused', reasons: [reason], done: [], kept: [], isKubeletRestarted: false },
});

function asRefusal(error: unknown): Outcome {
  return refused(error instanceof Error ? error.message : describeError(error));
}
