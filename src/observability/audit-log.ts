import type { Audit, AuditEvent, Clock, Closable, ImagePullEvent, Log, Metrics } from '../contracts/index.js';
import { describeError } from '../errors.js';
import { printAuditLine } from './audit-line.js';
import { LogStream, type LossKind } from './log-stream.js';
import { RotatingFile } from './rotating-file.js';

/** Milliseconds at the end for lines that still wait. */
const flushTime = 2000;

export interface AuditLogParts {
  /** An absolute path. Without it lines go to `stdout`. */
  readonly file?: string;
  /** Shared with the log, so that their lines do not mix. Whoever made it flushes it. */
  readonly stdout: { write(line: string): void };
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  /** A file that cannot be opened is told as an error, and tried again with each line; lines are lost until then. */
  readonly mayComeLater?: boolean;
}

/** Writes audit events as lines of JSON (`docs/audit.md`). */
export interface AuditLog extends Audit, Closable {
  /** Opens the file anew, which a rotating tool has renamed. Never throws and never waits. */
  reopen(): void;
  /** Waits at most two seconds for lines that still wait; what comes later is lost. */
  close(): Promise<void>;
}

/** @throws an Error with a one-line message where the file cannot be opened */
export async function openAuditLog(parts: AuditLogParts): Promise<AuditLog> {
  const { file, stdout, clock } = parts;
  if (file !== undefined) return new FileAuditLog(await openFile({ ...parts, file }), { ...parts, file });
  return {
    record: (event) => stdout.write(printAuditLine(event, clock.now())),
    reopen: () => {},
    close: async () => {},
  };
}

async function openFile({
  file,
  clock,
  log,
  mayComeLater = false,
}: AuditLogParts & { readonly file: string }): Promise<RotatingFile> {
  try {
    return await RotatingFile.open(file, clock);
  } catch (error) {
    if (mayComeLater) {
      log.error({ file, reason: describeError(error) }, 'the audit log cannot be opened: lines are lost');
      return RotatingFile.unopened(file, clock);
    }
    throw new Error(`cannot open the audit log ${file}: ${describeError(error)}`, { cause: error });
  }
}

class FileAuditLog implements AuditLog {
  readonly #file: RotatingFile;
  readonly #lines: LogStream;
  readonly #clock: Clock;

  constructor(file: RotatingFile, { file: path, clock, log, metrics }: AuditLogParts & { file: string }) {
    const losses = new Losses(path, log, metrics);
    this.#file = file;
    this.#clock = clock;
    this.#lines = new LogStream(
      file,
      (how, lines, error) => losses.add(how, lines, error),
      () => losses.end(),
    );
  }

  record(event: AuditEvent | ImagePullEvent): void {
    this.#lines.write(printAuditLine(event, this.#clock.now()));
  }

  reopen(): void {
    this.#file.forget();
    this.#lines.touch();
  }

  async close(): Promise<void> {
    const isDone = await this.#lines.end(flushTime);
    const closing = this.#file.close();
    // Where time ran out a write hangs, and closing would wait for it.
    if (isDone) await closing;
  }
}

/** Counts lost lines, and says so in the log when it begins and when it ends, not for each line. */
class Losses {
  readonly #file: string;
  readonly #log: Log;
  readonly #counter: ReturnType<Metrics['counter']>;
  readonly #told = new Set<LossKind>();
  #lines = 0;

  constructor(file: string, log: Log, metrics: Metrics) {
    this.#file = file;
    this.#log = log;
    this.#counter = metrics.counter(
      'audit_lines_lost_total',
      'Audit lines not written: dropped, or writing failed',
      ['how'],
    );
  }

  add(how: LossKind, lines: number, error: unknown): void {
    this.#counter.add({ how }, lines);
    this.#lines += lines;
    if (this.#told.has(how)) return;
    this.#told.add(how);
    const reason = how === 'failed' ? describeError(error) : 'too many lines wait to be written';
    this.#log.error({ file: this.#file, reason }, 'the audit log cannot be written: its lines are lost');
  }

  end(): void {
    this.#log.warn({ file: this.#file, lost: this.#lines }, 'the audit log is written again');
    this.#told.clear();
    this.#lines = 0;
  }
}
