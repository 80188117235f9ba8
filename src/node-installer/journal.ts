import { createHash } from 'node:crypto';
import { z } from 'zod';
import type { NodeFiles } from '../contracts/node.js';
import type { WrittenRecord } from './written-record.js';

/** As `WrittenFile`. */
const writtenFile = z.strictObject({
  hash: z.string(),
  block: z.string().exactOptional(),
});

const wanted = z.strictObject({
  mode: z.enum(['host', 'pod', 'credential-provider']),
  socket: z.string(),
  directory: z.string().exactOptional(),
  unit: z.string(),
  version: z.string(),
});

const step = z.strictObject({
  path: z.string(),
  before: z.strictObject({ hash: z.string(), mode: z.number(), backup: z.string() }).exactOptional(),
  after: writtenFile.exactOptional(),
});

const run = z.strictObject({
  kind: z.enum(['install', 'uninstall']),
  id: z.string(),
  wanted,
  phase: z.enum(['service', 'kubelet', 'restart', 'roll back']),
  previousPid: z.number(),
  isRestarted: z.boolean(),
  steps: z.array(step),
  planHash: z.string().exactOptional(),
});

const journal = z.strictObject({
  version: z.literal(1),
  record: z.record(z.string(), writtenFile),
  installed: wanted.optional(),
  run: run.optional(),
  failures: z
    .strictObject({ plan: z.string(), count: z.number(), at: z.number(), why: z.string() })
    .optional(),
});

/** What an installation is for: enough to take it away again. `unit`: kubelet's. */
export type Wanted = z.output<typeof wanted>;

/** A file that is changed, written down before it is. `backup`: where its bytes were saved; `mode`: its own. */
export type JournalStep = z.output<typeof step>;

/**
 * A run that has begun and not ended. `isRestarted`: kubelet may have been restarted since it began; `planHash`: of what
 * is to be done, for whoever tries again and again.
 */
export type JournalRun = z.output<typeof run>;

/** What is known of a node from one run to the next. */
export interface Journal {
  readonly record: WrittenRecord;
  readonly installed?: Wanted | undefined;
  readonly run?: JournalRun | undefined;
  /** The runs that failed one after the other with the same plan. `at`: milliseconds since the epoch. */
  readonly failures?: z.output<typeof journal>['failures'];
}

/** Another process has gone on with the run that this one had begun: the rollback, after its time was over. */
export class OvertakenError extends Error {
  override readonly name = 'OvertakenError';

  constructor() {
    super('another process has taken over this run: the rollback, or an installer started by hand');
  }
}

/** `journal.json`. What it says is on disk before what it speaks of is done. */
export class JournalFile {
  readonly path: string;
  /** Whether `load` has found one that this version can read. */
  isReadable = false;
  readonly #files: NodeFiles;
  #seen: string | undefined;
  /** What a write that failed may have left. */
  #tried: string | undefined;

  constructor(files: NodeFiles, stateDirectory: string) {
    this.#files = files;
    this.path = `${stateDirectory}/journal.json`;
  }

  /** @returns an empty one where there is none, or none that this version can read */
  async load(): Promise<Journal> {
    this.#seen = await this.#files.read(this.path);
    const found = this.#seen === undefined ? undefined : parseJournal(this.#seen);
    this.isReadable = found !== undefined;
    return found ?? { record: {} };
  }

  /** @throws OvertakenError where it is no longer what this object has seen last */
  async save(value: Journal): Promise<void> {
    await this.check();
    const text = printJournal(value);
    this.#tried = text;
    await this.#files.write(this.path, text, 0o600);
    this.#seen = text;
  }

  /** @throws OvertakenError */
  async check(): Promise<void> {
    const text = await this.#files.read(this.path);
    if (text !== this.#seen && text !== this.#tried) throw new OvertakenError();
  }

  async remove(): Promise<void> {
    await this.#files.remove(this.path);
    this.#seen = undefined;
  }
}

/** @returns undefined where it is none */
export function parseJournal(text: string): Journal | undefined {
  try {
    const { record, installed, run, failures } = journal.parse(JSON.parse(text));
    return { record, installed, run, failures };
  } catch {
    return undefined; // written by another version: our marks in the files themselves say what is ours
  }
}

function printJournal(value: Journal): string {
  return `${JSON.stringify({ version: 1, ...value }, null, 2)}\n`;
}

/** @returns the SHA-256, in hexadecimal digits */
export function hashOf(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
