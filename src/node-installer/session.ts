import { ensureActive } from './active-unit.js';
import { type Journal, JournalFile } from './journal.js';
import { removeLeftArguments } from './left-arguments.js';
import { usualPlanning } from './planning.js';
import type { InstallationParts } from './ports.js';
import type { Outcome } from './result.js';
import { RunFiles } from './run-files.js';
import { namesArguments } from './verify-kubelet.js';

/** One call of an `Installation`: what it has done and seen so far. */
export class Session {
  readonly ports: Required<InstallationParts>;
  readonly journalFile: JournalFile;
  readonly runFiles: RunFiles;
  journal: Journal = { record: {} };
  /** Kubelet's, from where something was done that may have stopped it. */
  unit: string | undefined;
  isKubeletRestarted = false;
  kept: readonly string[] = [];
  readonly #done: string[] = [];

  constructor(ports: InstallationParts) {
    this.ports = { planning: usualPlanning, ...ports };
    this.journalFile = new JournalFile(ports.files, ports.stateDirectory);
    this.runFiles = new RunFiles(ports.files, this.journalFile, ports.stateDirectory);
  }

  async load(): Promise<Journal> {
    this.journal = await this.journalFile.load();
    this.unit ??= this.journal.run?.wanted.unit;
    return this.journal;
  }

  async save(journal: Journal): Promise<void> {
    await this.journalFile.save(journal);
    this.journal = journal;
  }

  /** @param sentence what was done just now */
  tell(sentence: string): void {
    this.#done.push(sentence);
    this.ports.log.info({}, sentence);
  }

  outcome(verdict: Outcome['verdict'], reasons: readonly string[] = []): Outcome {
    const { isKubeletRestarted, kept } = this;
    return { verdict, reasons: [...reasons], done: [...this.#done], kept: [...kept], isKubeletRestarted };
  }

  /** @throws as `Systemd.restart`; kubelet counts as restarted all the same */
  async restartKubelet(unit: string): Promise<void> {
    this.isKubeletRestarted = true;
    this.tell(`restarting ${unit}`);
    await this.ports.systemd.restart(unit);
    await this.#forgetArguments(unit).catch(() => undefined);
  }

  async #forgetArguments(unit: string): Promise<void> {
    const { systemd, files } = this.ports;
    if (!namesArguments(await systemd.unit(unit))) await removeLeftArguments(files);
  }

  /** @returns why kubelet may be stopped; undefined too where nothing was begun that could have stopped it */
  async ensureKubelet(): Promise<string | undefined> {
    return this.unit === undefined ? undefined : ensureActive(this.ports, this.unit);
  }
}
