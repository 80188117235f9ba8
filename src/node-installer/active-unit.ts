import type { Systemd } from '../contracts/node.js';
import { describeError } from '../errors.js';
import type { NodePorts } from './ports.js';

/**
 * The last act of everything that went wrong: kubelet must not stay stopped.
 *
 * @returns why it may be stopped, in one line; undefined where it runs, or systemd is about to start it
 */
export async function ensureActive(
  { systemd, clock }: Pick<NodePorts, 'systemd' | 'clock'>,
  unit: string,
): Promise<string | undefined> {
  let problem = '';
  for (let attempt = 0; attempt < 3; attempt++) {
    if (attempt > 0) await clock.sleep(1_000);
    try {
      const { activeState } = await systemd.unit(unit);
      if (activeState !== 'inactive' && activeState !== 'failed') return undefined;
      // A unit that has failed too often is refused a start otherwise.
      await systemd.resetFailed(unit).catch(() => {});
      await systemd.start(unit);
      return undefined;
    } catch (error) {
      problem = describeError(error);
    }
  }
  return `${unit} may be stopped: ${problem}`;
}

/** Stops a unit that may not be there. @throws as `Systemd.stop` */
export async function stopIfThere(systemd: Systemd, unit: string): Promise<void> {
  const { activeState } = await systemd.unit(unit);
  if (activeState !== 'inactive' && activeState !== 'failed') await systemd.stop(unit);
}
