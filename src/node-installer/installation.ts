import { randomUUID } from 'node:crypto';
import { describeError } from '../errors.js';
import type { Desired } from './node.js';
import type { InstallationParts } from './ports.js';
import type { Outcome } from './result.js';
import { runInstall } from './run-install.js';
import { repairRun, rollBackRun } from './run-repair.js';
import { runUninstall } from './run-uninstall.js';
import { Session } from './session.js';

export interface InstallOptions {
  /**
   * For whoever installs again and again: a plan that failed is tried again after 5, 10, 20 … at most 60 minutes only,
   * for each time may restart kubelet.
   */
  readonly isPatient?: boolean;
}

/**
 * Changes a node, by one process at a time (the name of its transient unit is the lock). No method ever rejects: the
 * outcome says what went wrong. After any failure kubelet's unit is active, as far as systemd can be asked.
 */
export class Installation {
  readonly #parts: InstallationParts;

  constructor(parts: InstallationParts) {
    this.#parts = parts;
  }

  /** Repairs, reads, plans, and makes the node so; or puts everything back. Nothing is done where it is so already. */
  install(desired: Desired, options: InstallOptions = {}): Promise<Outcome> {
    return this.#act(async (session) => {
      const repaired = await repairRun(session);
      if (repaired?.verdict === 'failed') return repaired;
      return runInstall(session, desired, { id: randomUUID(), isPatient: options.isPatient ?? false });
    });
  }

  /** Takes everything away that was installed. What others changed meanwhile stays. */
  uninstall(): Promise<Outcome> {
    return this.#act(runUninstall);
  }

  /** Ends a run that was cut off: finished where kubelet is well with it, else put back. */
  repair(): Promise<Outcome> {
    return this.#act(
      async (session) =>
        (await repairRun(session)) ?? session.outcome('nothing to do', ['no run was cut off']),
    );
  }

  /**
   * What the timer runs where an installer did not end in time: puts its changes back.
   *
   * @param unit kubelet's, which is freed of us where the journal cannot be read
   */
  rollBack(unit?: string): Promise<Outcome> {
    return this.#act((session) => rollBackRun(session, unit));
  }

  async #act(work: (session: Session) => Promise<Outcome>): Promise<Outcome> {
    const session = new Session(this.#parts);
    try {
      return await work(session);
    } catch (error) {
      const problem = await session.ensureKubelet();
      return session.outcome('failed', [describeError(error), ...(problem === undefined ? [] : [problem])]);
    }
  }
}
