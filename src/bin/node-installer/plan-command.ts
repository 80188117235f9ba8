import { resolve } from 'node:path';
import type { NodeFiles } from '../../contracts/node.js';
import { JournalFile } from '../../node-installer/journal.js';
import type { Desired, ObservedNode, Plan } from '../../node-installer/node.js';
import { observe } from '../../node-installer/observe.js';
import { planInstall, planUninstall } from '../../node-installer/plan.js';
import { showPlan } from '../../node-installer/show-plan.js';
import { readNode } from '../../node-installer/snapshot.js';
import type { WrittenRecord } from '../../node-installer/written-record.js';
import type { CommandProcess } from '../command-process.js';
import { exitCodes } from '../exit.js';
import { readDesired } from './desired.js';
import { HostFiles } from './host-files.js';
import type { InstallOptions } from './install-options.js';

/** A node as it is, and what would be done. */
export interface PlannedNode {
  readonly observed: ObservedNode;
  readonly record: WrittenRecord;
  readonly plan: Plan;
}

/** `plan`, and `install --dry-run`: reads, prints, changes nothing. @throws QuestionError, CommandFailure */
export async function showInstallPlan(options: InstallOptions, own: CommandProcess): Promise<void> {
  const desired = await readDesired(options);
  show(await planFor(new HostFiles(resolve(options.root)), desired), own);
}

/** `uninstall --dry-run`. */
export async function showUninstallPlan(root: string, own: CommandProcess): Promise<void> {
  show(await planRemoval(new HostFiles(resolve(root))), own);
}

function show({ plan, observed }: PlannedNode, own: CommandProcess): void {
  own.stdout.write(showPlan(plan, observed));
  if (plan.verdict === 'refused') own.exitCode = exitCodes.failed;
}

export async function planFor(files: NodeFiles, desired: Desired): Promise<PlannedNode> {
  const { observed, record } = await look(files, desired);
  return { observed, record, plan: planInstall(desired, observed, record) };
}

export async function planRemoval(files: NodeFiles): Promise<PlannedNode> {
  const { observed, record } = await look(files);
  return { observed, record, plan: planUninstall(observed, record) };
}

/** Twice: only the first look tells where the record is, which names files in unusual places. */
async function look(files: NodeFiles, desired?: Desired) {
  const first = observe(await readNode(files), desired);
  const { record } = await new JournalFile(files, first.stateDirectory).load();
  const usual = Object.keys(record).every((path) => first.own.has(path));
  const also = [...Object.keys(record), `${first.executableDirectory}/kubelet-image-service`];
  const observed =
    usual && desired?.directory === undefined ? first : observe(await readNode(files, also), desired);
  return { observed, record };
}
