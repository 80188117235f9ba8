import type { NodeFiles } from '../../contracts/node.js';
import { hashOf, JournalFile } from '../../node-installer/journal.js';
import type { Change, Desired } from '../../node-installer/node.js';
import { blockOf } from '../../node-installer/own-block.js';
import { isUnitPath } from '../../node-installer/own-files.js';
import { showPlan } from '../../node-installer/show-plan.js';
import type { WrittenFile, WrittenRecord } from '../../node-installer/written-record.js';
import { CommandFailure } from '../command-failure.js';
import type { CommandProcess } from '../command-process.js';
import { exitCodes } from '../exit.js';
import { type PlannedNode, planFor, planRemoval } from './plan-command.js';

const note =
  'the files were written below --root; systemd was not asked, and nothing was started or verified: that is left to the first start';

/** `install --root DIR`: for whoever builds images of nodes. @throws CommandFailure */
export async function installInTree(files: NodeFiles, desired: Desired, own: CommandProcess): Promise<void> {
  const planned = await planFor(files, desired);
  const { mode, socket, directory, version } = desired;
  const unit = planned.observed.kubelet?.unit ?? 'kubelet.service';
  const installed = { mode, socket, unit, version, ...(directory !== undefined && { directory }) };
  await apply(files, planned, own, (journal, record) => journal.save({ record, installed }));
}

/** `uninstall --root DIR`. @throws CommandFailure */
export async function uninstallInTree(files: NodeFiles, own: CommandProcess): Promise<void> {
  await apply(files, await planRemoval(files), own, (journal) => journal.remove());
}

async function apply(
  files: NodeFiles,
  { plan, observed, record }: PlannedNode,
  own: CommandProcess,
  end: (journal: JournalFile, record: WrittenRecord) => Promise<void>,
): Promise<void> {
  own.stdout.write(showPlan(plan, observed));
  if (plan.verdict === 'refused') throw new CommandFailure('nothing was changed', exitCodes.failed);
  if (plan.changes.length === 0) return;
  const journal = new JournalFile(files, observed.stateDirectory);
  await journal.load();
  const written = new Map(Object.entries(record));
  for (const { path, after } of plan.changes) {
    const file = after && writtenFile(path, after.content);
    if (file === undefined) written.delete(path);
    else written.set(path, file);
    if (after === undefined) {
      await files.remove(path);
      continue;
    }
    const { content, mode } = after;
    await files.write(path, typeof content === 'string' ? content : { copyOf: content.copyOf }, mode);
  }
  await end(journal, Object.fromEntries(written));
  own.stdout.write(`${note}\n`);
}

/** @returns undefined where the file has no part of ours any more */
function writtenFile(
  path: string,
  content: NonNullable<Change['after']>['content'],
): WrittenFile | undefined {
  if (typeof content !== 'string') return { hash: content.hash };
  const block = blockOf(content);
  if (isUnitPath(path) && block === undefined) return undefined;
  return { hash: hashOf(content), ...(block !== undefined && { block }) };
}
