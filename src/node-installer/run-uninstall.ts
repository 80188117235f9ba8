import { randomUUID } from 'node:crypto';
import { describeError } from '../errors.js';
import { stopIfThere } from './active-unit.js';
import type { Journal, Wanted } from './journal.js';
import { kubeletStartsFile } from './kubelet-starts.js';
import { removeLeftArguments } from './left-arguments.js';
import { flagOf, guardStateFile } from './names.js';
import type { Change, Plan } from './node.js';
import { unitNames } from './own-files.js';
import type { Outcome } from './result.js';
import { waitForRollback } from './rollback-timer.js';
import { recordAfter } from './run-files.js';
import type { Session } from './session.js';
import { runsWithFlag, verifyKubelet } from './verify-kubelet.js';
import type { WrittenRecord } from './written-record.js';

/** What is assumed where no journal says it. */
const unknownSocket = '/run/kubelet-image-service/image.sock';

/**
 * Takes everything away: kubelet first, and only when it runs without us the service. Goes forward only: kubelet without
 * us is as it was before, and a run that is cut off is gone on with by the next.
 */
export async function runUninstall(session: Session): Promise<Outcome> {
  const { ports } = session;
  await waitForRollback(ports);
  const journal = await session.load();
  const record = await presentRecord(session, journal);
  const known = journal.run?.wanted ?? journal.installed;
  const snapshot = await ports.planning.readNode(ports.files, Object.keys(record));
  const observed = ports.planning.observe(snapshot, known && { ...known, chain: true });
  const plan = ports.planning.planUninstall(observed, record);
  session.kept = plan.kept;
  const unit = known?.unit ?? observed.kubelet?.unit;
  const isNothing = plan.changes.length === 0 && known === undefined && journal.run === undefined;
  if (isNothing || unit === undefined) return takeRest(session, plan, []);
  const wanted = known ?? { mode: 'host', socket: unknownSocket, unit, version: '' };
  await begin(session, record, wanted);
  const problem = await freeKubelet(session, plan, wanted);
  if (problem !== undefined && (await mayHaveFlag(session, wanted))) {
    const stopped = await session.ensureKubelet();
    return session.outcome('failed', [problem, ...(stopped === undefined ? [] : [stopped])]);
  }
  return takeRest(session, plan, problem === undefined ? [] : [problem]);
}

/** The record with what a run that was cut off has really written. */
async function presentRecord({ ports }: Session, { record, run }: Journal): Promise<WrittenRecord> {
  const done = [];
  for (const step of run?.steps ?? []) {
    if ((await ports.files.hash(step.path)) === step.after?.hash) done.push(step);
  }
  return recordAfter(record, done);
}

async function begin(session: Session, record: WrittenRecord, wanted: Wanted): Promise<void> {
  session.unit = wanted.unit;
  const run = {
    ...{ kind: 'uninstall' as const, id: randomUUID(), wanted, phase: 'kubelet' as const },
    ...{ previousPid: 0, isRestarted: false, steps: [] },
  };
  await session.save({ record, installed: wanted, run });
}

/** @returns why kubelet is not healthy without us */
async function freeKubelet(session: Session, plan: Plan, wanted: Wanted): Promise<string | undefined> {
  const { ports } = session;
  const { unit } = wanted;
  const changes = plan.changes.filter(({ stage }) => stage === 'kubelet');
  for (const change of changes) await apply(session, change);
  // Also where nothing changed: the run before may have ended just here.
  await ports.systemd.reload();
  const process = await ports.kubelet.look(unit);
  const flag = flagOf(wanted);
  const isBound = process !== undefined && (await runsWithFlag(ports, unit, process, flag));
  if (changes.length === 0 && !isBound) return session.ensureKubelet();
  const previousPid = process?.pid ?? 0;
  const failure = await session.restartKubelet(unit).then(() => undefined, describeError);
  const problem = await verifyKubelet(ports, { unit, previousPid, flag, hasFlag: false });
  if (problem === undefined) return undefined;
  const stopped = await session.ensureKubelet();
  return [failure, problem, stopped].filter(Boolean).join('; ');
}

/** Where it cannot be told, it may. */
async function mayHaveFlag({ ports }: Session, wanted: Wanted): Promise<boolean> {
  try {
    const process = await ports.kubelet.look(wanted.unit);
    return process !== undefined && (await runsWithFlag(ports, wanted.unit, process, flagOf(wanted)));
  } catch {
    return true;
  }
}

/** @param problems why kubelet is not well, though it runs without us */
async function takeRest(session: Session, plan: Plan, problems: readonly string[]): Promise<Outcome> {
  const { systemd, files } = session.ports;
  const isAnything = plan.changes.length > 0 || session.journal.run !== undefined;
  if (isAnything) {
    for (const unit of [unitNames.guardTimer, unitNames.guardService, unitNames.service]) {
      await stopIfThere(systemd, unit);
    }
  }
  // The executable last: until then this may be run again.
  const changes = plan.changes.filter(({ stage }) => stage === 'service' || session.unit === undefined);
  for (const change of changes) await apply(session, change);
  if (isAnything) await systemd.reload();
  await removeLeftArguments(files);
  for (const path of [guardStateFile, kubeletStartsFile]) await files.remove(path);
  await session.runFiles.removeBackups();
  await session.journalFile.remove();
  if (problems.length > 0) return session.outcome('failed', [...problems, 'all of ours was taken away']);
  return session.outcome(isAnything ? 'uninstalled' : 'nothing to do');
}

async function apply(session: Session, { path, before, after }: Change): Promise<void> {
  const { files } = session.ports;
  if ((await files.hash(path)) !== before?.hash) {
    throw new Error(`${path} was changed by somebody else meanwhile`);
  }
  if (after === undefined) await files.remove(path);
  else await files.write(path, asContent(after.content), after.mode);
  session.tell(`${after === undefined ? 'removed' : 'took our part out of'} ${path}`);
}

const asContent = (content: NonNullable<Change['after']>['content']) =>
  typeof content === 'string' ? content : { copyOf: content.copyOf };
