import { ownLinesOf } from './own-lines.js';

/** The first line of what we write into a unit. */
export const beginLine =
  '# BEGIN kubelet-image-service (written by `kubelet-image-service install`; `uninstall` takes it away)';
export const endLine = '# END kubelet-image-service';

/** Of any version: what stands in brackets may change. */
const blockGrammar =
  /^# BEGIN kubelet-image-service\b.*\n(?:(?!# BEGIN ).*\n)*?# END kubelet-image-service(?:\n|$)/m;

/** @returns our part of a file, BEGIN to END with both line breaks, or undefined where it is not there complete */
export function blockOf(text: string): string | undefined {
  return blockGrammar.exec(text)?.[0];
}

/**
 * Puts our part where the present one is, or else at the beginning: so it can be cut out again to the byte, whether the
 * file ends in a line break or not.
 *
 * @param block as `blockOf`
 */
export function withBlock(text: string | undefined, block: string): string {
  if (text === undefined) return block;
  // By a function: `$` in the block means nothing.
  return blockOf(text) === undefined ? `${block}${text}` : text.replace(blockGrammar, () => block);
}

/**
 * Takes our part away. Where somebody has changed it, those lines that are as we wrote them.
 *
 * @param lastWritten our part as we wrote it last; absent: nobody knows, and lines are told by their form
 * @returns what is left, or undefined where that is nothing
 */
export function withoutBlock(text: string, lastWritten?: string): string | undefined {
  const block = blockOf(text);
  const isOurs = ownLinesOf(text);
  const isAsWritten =
    block !== undefined &&
    (lastWritten === undefined
      ? entriesOf(block).every((entry) => entry.trim() === '' || isOurs(entry))
      : block === lastWritten);
  // What is left to the byte was there before us: also where it is white space alone.
  if (isAsWritten) return text.replace(blockGrammar, '') || undefined;
  const left = (part: string) => withoutLines(part, lastWritten === undefined ? isOurs : inTurn(lastWritten));
  const rest = block === undefined ? left(text) : text.replace(blockGrammar, () => left(block));
  return rest.trim() === '' && rest !== text ? undefined : rest;
}

/** A line with those that continue it (systemd.syntax(7)): half a command would be another one. */
const entryGrammar = /(?:.*\\\n)*(?:.*\n|.+$)/g;

/** Told once each, in the order of a text. */
function inTurn(written: string): (entry: string) => boolean {
  const ours = countsOf([beginLine, endLine, ...entriesOf(written)]);
  return (entry) => takes(ours, entry);
}

function withoutLines(text: string, isOfOurs: (entry: string) => boolean): string {
  const entries = entriesOf(text).map((entry) => ({ entry, isOurs: isOfOurs(entry) }));
  return entries
    .filter(({ entry, isOurs }, at) => !isOurs || isNeeded(entry, entries.slice(at + 1)))
    .map(({ entry }) => entry)
    .join('');
}

interface Entry {
  readonly entry: string;
  readonly isOurs: boolean;
}

/**
 * A line of ours that one of theirs means nothing without: the section it is in, and `ExecStart=` before another
 * command, for with two of them the unit does not start.
 */
function isNeeded(line: string, later: readonly Entry[]): boolean {
  const own = line.trim();
  const theirs = (of: readonly Entry[]) =>
    of.filter(({ isOurs }) => !isOurs).map(({ entry }) => entry.trim());
  if (own.startsWith('[')) {
    const next = later.findIndex(({ entry }) => entry.trimStart().startsWith('['));
    return theirs(next < 0 ? later : later.slice(0, next)).some((entry) => /^[^#;]/.test(entry));
  }
  return /^\w+=$/.test(own) && theirs(later).some((entry) => entry.startsWith(own) && entry !== own);
}

function entriesOf(text: string): readonly string[] {
  return text.match(entryGrammar) ?? [];
}

function countsOf(entries: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const entry of entries) counts.set(entry.trim(), (counts.get(entry.trim()) ?? 0) + 1);
  return counts;
}

/** Each of ours once: a line of theirs that happens to be the same stays. */
function takes(counts: Map<string, number>, entry: string): boolean {
  const left = counts.get(entry.trim()) ?? 0;
  if (left === 0 || entry.trim() === '') return false;
  counts.set(entry.trim(), left - 1);
  return true;
}
