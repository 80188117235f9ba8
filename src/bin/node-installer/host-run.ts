import { randomUUID } from 'node:crypto';
import { type NodeFiles, type Systemd, UnitExistsError, type UnitState } from '../../contracts/node.js';
import { installUnit } from '../../node-installer/names.js';
import type { Time } from '../../node-installer/ports.js';
import { type InstallResult, isFailure, readResult, resultPath } from '../../node-installer/result.js';
import { longestRun } from '../../node-installer/rollback-timer.js';
import { CommandFailure } from '../command-failure.js';
import { exitCodes } from '../exit.js';

/** Milliseconds between two looks, and more than a run may take. */
const pause = 500;
const longestWait = longestRun + 60_000;

export interface HostRun {
  readonly command: 'install' | 'uninstall';
  /** Paths of the node. */
  readonly executable: string;
  readonly stateDirectory: string;
  /** Behind `install --inside --run ID --state DIR`. */
  readonly words: readonly string[];
}

export interface HostRunParts {
  readonly systemd: Systemd;
  /** In which the node's state directory is. */
  readonly files: NodeFiles;
  readonly clock: Time;
}

/** An installer is at work on this node, and may still read what was brought there for it. */
export class AtWorkError extends CommandFailure {}

/** Another one than ours. */
export class BusyError extends AtWorkError {
  constructor(cause: unknown) {
    const message = `another installer is at work on this node: its unit ${installUnit} exists`;
    super(message, exitCodes.failed, { cause });
  }
}

/**
 * Runs the installer as a unit of the node, which outlives whoever started it, and waits for its end.
 *
 * @throws AtWorkError where it takes too long, BusyError; CommandFailure where it ended without a result; an Error of one line where systemd cannot be asked
 */
export async function runOnHost(
  { command, executable, stateDirectory, words }: HostRun,
  { systemd, files, clock }: HostRunParts,
): Promise<InstallResult> {
  const run = randomUUID();
  // One that failed keeps its name otherwise.
  await systemd.resetFailed(installUnit).catch(() => undefined);
  try {
    await systemd.startTransient({
      name: installUnit,
      description: `kubelet-image-service ${command}`,
      command: [executable, command, '--inside', '--run', run, '--state', stateDirectory, ...words],
      timeLimit: longestRun,
    });
  } catch (error) {
    if (error instanceof UnitExistsError) throw new BusyError(error);
    throw error;
  }
  const state = await ended(systemd, clock);
  const result = await readResult(files, stateDirectory);
  if (result?.run === run) {
    // Whoever asked has it now, and an uninstall leaves nothing.
    if (command === 'uninstall' && !isFailure(result)) await files.remove(resultPath(stateDirectory));
    return result;
  }
  const see = `see journalctl -u ${installUnit}`;
  if (state === undefined) throw new AtWorkError(`${installUnit} is still at work; ${see}`, exitCodes.failed);
  const how = `ended without a result (${state.result || state.loadState})`;
  throw new CommandFailure(`${installUnit} ${how}; ${see}`, exitCodes.failed);
}

/** @returns undefined where it takes too long. systemd cannot be asked for a moment while it reads its units */
async function ended(systemd: Systemd, clock: Time): Promise<UnitState | undefined> {
  for (let waited = 0; waited < longestWait; waited += pause) {
    const state = await systemd.unit(installUnit).catch(() => undefined);
    if (state !== undefined && isOver(state)) return state;
    await clock.sleep(pause);
  }
  return undefined;
}

const isOver = ({ activeState }: UnitState) => activeState === 'inactive' || activeState === 'failed';
