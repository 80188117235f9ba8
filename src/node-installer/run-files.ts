import type { NodeFiles } from '../contracts/node.js';
import { describeError } from '../errors.js';
import type { Journal, JournalFile, JournalRun, JournalStep } from './journal.js';
import { hashOf } from './journal.js';
import type { Change } from './node.js';
import { blockOf, withoutBlock } from './own-block.js';
import { isUnitPath } from './own-files.js';
import type { WrittenFile, WrittenRecord } from './written-record.js';

/** A run that can be added to. */
export type OpenRun = Omit<JournalRun, 'steps'> & { steps: JournalStep[] };

/** Changes files so that each change can be taken back: a backup, then the journal, then the file. */
export class RunFiles {
  readonly #files: NodeFiles;
  readonly #journal: JournalFile;
  readonly #backups: string;

  constructor(files: NodeFiles, journal: JournalFile, stateDirectory: string) {
    this.#files = files;
    this.#journal = journal;
    this.#backups = `${stateDirectory}/backups`;
  }

  /** @throws an Error of one line, also where the file is not what the plan was made for */
  async change(change: Change, run: OpenRun, journal: Journal): Promise<void> {
    const { path, before, after } = change;
    if ((await this.#files.hash(path)) !== before?.hash) {
      throw new Error(`${path} was changed by somebody else meanwhile`);
    }
    const written = after && writtenFile(after.content);
    const saved = before && (await this.#backUp(path, before));
    run.steps.push({ path, ...(saved && { before: saved }), ...(written && { after: written }) });
    await this.#journal.save({ ...journal, run });
    if (after === undefined) return this.#files.remove(path);
    const { content, mode } = after;
    await this.#files.write(path, typeof content === 'string' ? content : { copyOf: content.copyOf }, mode);
  }

  async #backUp(path: string, { hash, text }: { readonly hash: string; readonly text?: string }) {
    const backup = `${this.#backups}/${hash}`;
    const mode = (await this.#files.stat(path))?.mode ?? 0o600;
    // The installer runs on the node itself, so that a path of the node is one of its own surroundings.
    await this.#files.write(backup, text ?? { copyOf: path }, 0o600);
    return { hash, mode, backup };
  }

  /**
   * Puts back what the steps changed, the last one first, each whatever became of the others. What somebody has changed
   * since only loses our part.
   *
   * @returns what could not be put back, a sentence each
   */
  async restore(steps: readonly JournalStep[]): Promise<readonly string[]> {
    const problems: string[] = [];
    for (const step of steps.toReversed()) {
      try {
        await this.#restore(step);
      } catch (error) {
        problems.push(`${step.path} could not be put back: ${describeError(error)}`);
        // A disk that is full takes no backup any more. A unit without our part is one that works.
        if (isUnitPath(step.path)) await this.#withoutOurs(step).catch(() => {});
      }
    }
    return problems;
  }

  async #restore(step: JournalStep): Promise<void> {
    const { path, before, after } = step;
    const current = await this.#files.hash(path);
    if (current === before?.hash) return;
    if (current !== after?.hash) return this.#withoutOurs(step);
    if (before === undefined) return this.#files.remove(path);
    await this.#files.write(path, { copyOf: before.backup }, before.mode);
  }

  async #withoutOurs({ path, after }: JournalStep): Promise<void> {
    if (after?.block === undefined) return;
    const text = await this.#files.read(path);
    if (text === undefined) return;
    const rest = withoutBlock(text, after.block);
    if (rest === text) return;
    if (rest === undefined) return this.#files.remove(path);
    await this.#files.write(path, rest, (await this.#files.stat(path))?.mode ?? 0o644);
  }

  /** Backups are for a run that has not ended. Never rejects: what stays goes with the next one. */
  async removeBackups(): Promise<void> {
    try {
      for (const name of await this.#files.list(this.#backups)) {
        await this.#files.remove(`${this.#backups}/${name}`);
      }
    } catch {
      // Nobody reads them.
    }
  }
}

function writtenFile(content: NonNullable<Change['after']>['content']): WrittenFile {
  if (typeof content !== 'string') return { hash: content.hash };
  const block = blockOf(content);
  return { hash: hashOf(content), ...(block !== undefined && { block }) };
}

/** @returns the record with what the steps wrote and took away */
export function recordAfter(record: WrittenRecord, steps: readonly JournalStep[]): WrittenRecord {
  const files = new Map(Object.entries(record));
  for (const { path, after } of steps) {
    // A unit that has no part of ours any more is somebody else's.
    if (after === undefined || (isUnitPath(path) && after.block === undefined)) files.delete(path);
    else files.set(path, after);
  }
  return Object.fromEntries(files);
}
