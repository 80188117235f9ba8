import { UnitExistsError } from '../contracts/node.js';
import { stopIfThere } from './active-unit.js';
import { OvertakenError } from './journal.js';
import { rollbackTimer, rollbackUnit } from './names.js';
import type { NodePorts } from './ports.js';
import type { Session } from './session.js';

/**
 * Milliseconds. An installer that has not ended then does not end: a restart that systemd takes its time for and a wait
 * for kubelet's health are over before, and so are the two of an installer that puts everything back by itself.
 */
export const rollbackAfter = 210_000;
/** Milliseconds for an installer, or a rollback: the guard does nothing meanwhile. */
export const longestRun = 15 * 60_000;
/** Milliseconds that a rollback at work is waited for. */
const mostWait = 240_000;
const pause = 2_000;

/** From now on kubelet's restart is taken back by systemd where nobody else says how it went. */
export async function arm(
  { systemd }: NodePorts,
  { executable, unit }: { readonly executable: string; readonly unit: string },
): Promise<void> {
  const service = {
    name: rollbackUnit,
    description: "Take back a change of kubelet's arguments that did not end in time",
    command: [executable, 'roll-back', '--unit', unit],
    after: rollbackAfter,
    timeLimit: longestRun,
    isRepeated: true,
  };
  try {
    await systemd.startTransient(service);
  } catch (error) {
    if (!(error instanceof UnitExistsError)) throw error;
    // Of a run that was cut off and has been repaired since.
    await stopIfThere(systemd, rollbackTimer);
    await systemd.resetFailed(rollbackUnit).catch(() => {});
    await systemd.startTransient(service);
  }
}

/** @throws OvertakenError where it was too late: the rollback has begun, or is over */
export async function disarm({ ports, journalFile }: Session): Promise<void> {
  await twice(ports, () => stopIfThere(ports.systemd, rollbackTimer));
  if (await isAtWork(ports)) throw new OvertakenError();
  await journalFile.check();
}

/** Stops the timer, and waits for a rollback that has begun. @throws an Error of one line where it does not end */
export async function waitForRollback(ports: NodePorts): Promise<void> {
  await twice(ports, () => stopIfThere(ports.systemd, rollbackTimer));
  for (let waited = 0; await isAtWork(ports); waited += pause) {
    if (waited >= mostWait) throw new Error(`${rollbackUnit} does not end`);
    await ports.clock.sleep(pause);
  }
}

async function isAtWork({ systemd }: NodePorts): Promise<boolean> {
  const { activeState } = await systemd.unit(rollbackUnit);
  return activeState !== 'inactive' && activeState !== 'failed';
}

/** D-Bus may be away for a moment, while systemd reads its units. */
export async function twice<T>({ clock }: Pick<NodePorts, 'clock'>, act: () => Promise<T>): Promise<T> {
  try {
    return await act();
  } catch (error) {
    if (error instanceof OvertakenError) throw error;
    await clock.sleep(1_000);
    return await act();
  }
}
