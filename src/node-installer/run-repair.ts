import { describeError } from '../errors.js';
import { stopIfThere } from './active-unit.js';
import { cutOut } from './cut-out.js';
import { type JournalRun, type JournalStep, OvertakenError } from './journal.js';
import { kubeletStartsFile } from './kubelet-starts.js';
import { flagOf, rollbackTimer } from './names.js';
import { blockOf } from './own-block.js';
import { dropInPath, isUnitPath, unitNames } from './own-files.js';
import type { Outcome } from './result.js';
import { twice, waitForRollback } from './rollback-timer.js';
import { recordAfter } from './run-files.js';
import type { Session } from './session.js';
import { runsWithFlag, verifyKubelet } from './verify-kubelet.js';

/**
 * Ends a run that was cut off.
 *
 * @returns undefined where there was none
 */
export async function repairRun(session: Session): Promise<Outcome | undefined> {
  if ((await session.load()).run === undefined) return undefined;
  await waitForRollback(session.ports);
  const { run } = await session.load();
  if (run === undefined) return session.outcome('rolled back', ['the rollback has ended the run before']);
  if (run.kind === 'uninstall') return forget(session);
  if (run.phase === 'restart' && (await isDone(session, run))) return finish(session, run);
  return putBack(session, run, 'the run before was cut off');
}

/**
 * What `roll-back` does: the installer may be gone, or hang.
 *
 * @param unit kubelet's, which is freed of us where the journal does not say what is to be taken back
 */
export async function rollBackRun(session: Session, unit?: string): Promise<Outcome> {
  const { run } = await session.load().catch(() => ({ run: undefined }));
  if (run?.kind === 'install') return putBack(session, run, 'the installer did not end in time');
  if (unit === undefined || session.journalFile.isReadable) {
    return session.outcome('nothing to do', ['no run is to be taken back']);
  }
  const why = 'the installer did not end in time, and its journal cannot be read';
  const problem = await freeKubelet(session, { unit, flag: '' });
  return session.outcome(problem === undefined ? 'rolled back' : 'failed', [
    why,
    ...(problem === undefined ? ['kubelet was freed of all that is ours'] : [problem]),
  ]);
}

/** @returns why kubelet is not well without us either */
async function freeKubelet(
  session: Session,
  { unit, flag }: { readonly unit: string; readonly flag: string },
): Promise<string | undefined> {
  const { ports } = session;
  session.unit = unit;
  session.isKubeletRestarted = true;
  const previousPid = (await ports.kubelet.look(unit).catch(() => undefined))?.pid ?? 0;
  session.tell(`taking our part out of kubelet's unit, and restarting ${unit}`);
  const failure = await twice(ports, () => cutOut(ports, unit)).then(() => undefined, describeError);
  const problem = await verifyKubelet(ports, { unit, previousPid, flag, ...(flag && { hasFlag: false }) });
  if (problem === undefined) return undefined;
  return [failure, problem, await session.ensureKubelet()].filter(Boolean).join('; ');
}

/** An uninstall leaves nothing to take back: the next run goes on from what is there. */
async function forget(session: Session): Promise<Outcome | undefined> {
  const { record, installed } = session.journal;
  await session.ports.systemd.reload();
  const problem = await session.ensureKubelet();
  if (problem !== undefined) return session.outcome('failed', [problem]);
  await session.save({ record, installed });
  return session.outcome('nothing to do', ['an uninstall was cut off']);
}

async function isDone({ ports }: Session, { wanted, previousPid, steps }: JournalRun): Promise<boolean> {
  for (const { path, after } of steps) {
    if ((await ports.files.hash(path)) !== after?.hash) return false;
  }
  const expected = { unit: wanted.unit, previousPid, flag: flagOf(wanted), hasFlag: true };
  return (await verifyKubelet(ports, expected)) === undefined;
}

async function finish(session: Session, run: JournalRun): Promise<Outcome> {
  await session.save({ record: recordAfter(session.journal.record, run.steps), installed: run.wanted });
  await session.runFiles.removeBackups();
  return session.outcome('installed', ['the run before was cut off when kubelet was healthy already']);
}

/** Puts back what a run has changed. Never rejects: kubelet's unit is active in the end, or the outcome says so. */
export async function putBack(session: Session, run: JournalRun, why: unknown): Promise<Outcome> {
  const reason = typeof why === 'string' ? why : describeError(why);
  session.unit = run.wanted.unit;
  try {
    if (why instanceof OvertakenError) throw why;
    const problems = await new Undo(session, run).go(failureOf(session, reason, run.planHash));
    return session.outcome(problems.length === 0 ? 'rolled back' : 'failed', [reason, ...problems]);
  } catch (error) {
    return afterOvertaking(session, reason, error);
  }
}

function failureOf({ journal, ports }: Session, why: string, plan: string | undefined) {
  if (plan === undefined) return journal.failures;
  const count = journal.failures?.plan === plan ? journal.failures.count + 1 : 1;
  return { plan, count, at: ports.clock.now(), why };
}

async function afterOvertaking(session: Session, reason: string, error: unknown): Promise<Outcome> {
  const reasons = [...new Set([reason, describeError(error)])];
  try {
    await waitForRollback(session.ports);
    const { run } = await session.load();
    const problem = await session.ensureKubelet();
    if (problem !== undefined) reasons.push(problem);
    return session.outcome(run === undefined && problem === undefined ? 'rolled back' : 'failed', reasons);
  } catch (later) {
    const problem = await session.ensureKubelet();
    if (problem !== undefined) reasons.push(problem);
    return session.outcome('failed', [...reasons, describeError(later)]);
  }
}

/** Each act whatever became of the others; done twice, or by two processes at once, it ends in the same. */
class Undo {
  readonly #session: Session;
  readonly #run: JournalRun;
  readonly #problems: string[] = [];

  constructor(session: Session, run: JournalRun) {
    this.#session = session;
    this.#run = run;
  }

  /** @returns what could not be put back. @throws OvertakenError */
  async go(failures: Session['journal']['failures']): Promise<readonly string[]> {
    const session = this.#session;
    const { systemd } = session.ports;
    const { record, installed } = session.journal;
    const run: JournalRun = { ...this.#run, phase: 'roll back' };
    // Where it was never written down, nothing was changed.
    const isBegun = session.journal.run !== undefined;
    if (isBegun) await this.#attempt('the journal', () => session.save({ ...session.journal, run }));
    this.#problems.push(...(await session.runFiles.restore(run.steps)));
    const isComplete = this.#problems.length === 0;
    if (run.steps.length > 0) await this.#attempt('reloading', () => systemd.reload());
    await this.#attempt('kubelet', () => this.#settleKubelet());
    await this.#attempt('our services', () => this.#settleServices());
    const problem = isBegun ? await session.ensureKubelet() : undefined;
    if (problem !== undefined) this.#problems.push(problem);
    if (isComplete) {
      await this.#attempt('the journal', () => session.save({ record, installed, failures }));
      await session.runFiles.removeBackups();
    }
    // Last: until here the timer would take this over, where this process ends.
    if (run.isRestarted) await this.#attempt('the rollback timer', () => this.#disarm());
    return this.#problems;
  }

  async #attempt(what: string, act: () => Promise<void>): Promise<void> {
    try {
      await twice(this.#session.ports, act);
    } catch (error) {
      if (error instanceof OvertakenError) throw error;
      this.#problems.push(`${what}: ${describeError(error)}`);
    }
  }

  async #disarm(): Promise<void> {
    await stopIfThere(this.#session.ports.systemd, rollbackTimer);
  }

  async #settleKubelet(): Promise<void> {
    const { ports } = this.#session;
    const { isRestarted, wanted, steps } = this.#run;
    const { unit } = wanted;
    const flag = flagOf(wanted);
    if (steps.length === 0 && !isRestarted) return;
    const process = await ports.kubelet.look(unit);
    const text = await ports.files.read(dropInPath(unit));
    const isOurs = text !== undefined && blockOf(text) !== undefined;
    const isLeftOver = !isOurs && process !== undefined && (await runsWithFlag(ports, unit, process, flag));
    if (!isRestarted && !isLeftOver) return;
    await ports.systemd.resetFailed(unit).catch(() => {});
    // What is put back ran well: the starts of what is not there any more do not count.
    if (steps.length > 0) await ports.files.remove(kubeletStartsFile).catch(() => {});
    await this.#session.restartKubelet(unit);
    const expected = { unit, previousPid: process?.pid ?? 0, flag, ...(!isOurs && { hasFlag: false }) };
    const problem = await verifyKubelet(ports, expected);
    if (problem === undefined) return;
    this.#problems.push(problem);
    if (!isOurs) return;
    // An earlier version of ours is there again, and kubelet is ill all the same.
    const still = await freeKubelet(this.#session, { unit, flag });
    this.#problems.push(still ?? 'kubelet was freed of all that is ours, and is healthy');
  }

  /** The files say what should run now. */
  async #settleServices(): Promise<void> {
    const { systemd, files } = this.#session.ports;
    if (!this.#run.steps.some(isOfServices)) return;
    for (const unit of [unitNames.service, unitNames.guardTimer]) {
      const text = await files.read(`/etc/systemd/system/${unit}`);
      if (text !== undefined && blockOf(text) !== undefined) await systemd.restart(unit);
      else await stopIfThere(systemd, unit);
    }
  }
}

const isOfServices = ({ path }: JournalStep) =>
  !isUnitPath(path) || Object.values(unitNames).some((unit) => path.endsWith(`/${unit}`));
