import { removeLeftArguments } from './left-arguments.js';
import type { ObservedNode } from './node.js';
import { withoutBlock } from './own-block.js';
import { dropInPath, ownVariable, withVariable } from './own-files.js';
import { usualPlanning } from './planning.js';
import type { NodePorts } from './ports.js';
import { namesArguments } from './verify-kubelet.js';

/**
 * The last resort: takes our part out of kubelet's drop-in, whatever a journal says, and restarts kubelet, which runs
 * without us then.
 *
 * @param unit kubelet's
 * @throws an Error of one line where a file cannot be written or systemd not be asked
 */
export async function cutOut({ files, systemd }: NodePorts, unit: string): Promise<void> {
  const path = dropInPath(unit);
  const text = await files.read(path);
  const rest = text === undefined ? undefined : withoutBlock(text);
  if (rest === undefined) await files.remove(path);
  else if (rest !== text) await files.write(path, rest, (await files.stat(path))?.mode ?? 0o644);
  await systemd.reload();
  // A unit that has failed too often is refused a start otherwise.
  await systemd.resetFailed(unit).catch(() => {});
  await systemd.restart(unit);
  if (!namesArguments(await systemd.unit(unit))) await removeLeftArguments(files);
}

/**
 * Whether our drop-in repeats a command that the platform's files do not have any more: of a program, say, that an update
 * of the node has put somewhere else.
 */
export async function isOutdated({ files }: Pick<NodePorts, 'files'>, unit: string): Promise<boolean> {
  const text = (await files.read(dropInPath(unit))) ?? '';
  if (!text.includes(`$${ownVariable}`)) return false;
  const { kubelet } = usualPlanning.observe(await usualPlanning.readNode(files, []));
  return kubelet?.unit === unit && !text.includes(repeated(kubelet));
}

function repeated({ argumentsPath }: NonNullable<ObservedNode['kubelet']>): string {
  if (argumentsPath.kind === 'amend') return `$${argumentsPath.variable}`;
  return `\nExecStart=${withVariable(argumentsPath.execStart, argumentsPath.variable)}\n`;
}
