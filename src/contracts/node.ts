import type { Closable } from './call-options.js';

/**
 * The files of a node by their absolute paths there; the implementation may put a root directory before them, and never
 * leaves it through a link.
 */
export interface NodeFiles {
  /** @returns its text (UTF-8, at most 1 MiB), or undefined where nothing is there. @throws an Error of one line else */
  read(path: string): Promise<string | undefined>;
  /** @returns the names in a directory, sorted; none where it is not there */
  list(directory: string): Promise<readonly string[]>;
  /** Links are followed, within the root. @returns undefined where nothing is there */
  stat(path: string): Promise<NodeFileStat | undefined>;
  /** @returns the SHA-256 of its bytes, in hexadecimal digits, or undefined where nothing is there */
  hash(path: string): Promise<string | undefined>;
  /**
   * Complete and on disk (fsync of file and directory) when it resolves, and until then as it was before: a temporary
   * file beside it is renamed. Missing directories are made, 0755.
   */
  write(path: string, content: FileContent, mode: number): Promise<void>;
  /** Also where it is not there. Directories that `write` made stay. */
  remove(path: string): Promise<void>;
}

/** `copyOf`: the bytes of a file of the installer's own surroundings, not below the root. */
export type FileContent = string | { readonly copyOf: string };

export interface NodeFileStat {
  readonly kind: 'file' | 'directory' | 'other';
  /** Bytes. */
  readonly size: number;
  /** Permission bits. */
  readonly mode: number;
  /** User id; where a root directory is put before paths, 0 also for the user of this process. */
  readonly owner: number;
  /** With no link left in it. */
  readonly realPath: string;
}

/** A unit as systemd itself sees it (org.freedesktop.systemd1.Unit and .Service). */
export interface UnitState {
  /** `loaded`, `not-found`, `bad-setting`, `error`, `masked`. */
  readonly loadState: string;
  /** `active`, `activating`, `inactive`, `failed`, `deactivating`, `reloading`. */
  readonly activeState: string;
  readonly subState: string;
  /** Of its last run: `success`, `exit-code`, `timeout`, …; empty where the unit is no service. */
  readonly result: string;
  /** 0: none. */
  readonly mainPid: number;
  /** Exit status of the main process that ended last. */
  readonly mainStatus: number;
  /** How often systemd has restarted it by itself. */
  readonly restarts: number;
  readonly fragmentPath: string;
  readonly dropInPaths: readonly string[];
  readonly needsReload: boolean;
  /** The commands as systemd parsed them: variables not expanded, quotes gone. */
  readonly execStart: readonly (readonly string[])[];
  readonly execStartPre: readonly (readonly string[])[];
  readonly environmentFiles: readonly string[];
  /** Units that it starts after, and so those that say `Before=` of it. */
  readonly after: readonly string[];
}

/** A unit that exists until it has ended, on no disk (systemd.unit(5), StartTransientUnit). */
export interface TransientService {
  /** Such as `kubelet-image-service-install.service`. */
  readonly name: string;
  readonly description: string;
  /** An absolute path of the host and its arguments. */
  readonly command: readonly string[];
  /** Absent: started at once. Present: by a timer of the same name, so many milliseconds from now. */
  readonly after?: number;
  /** Milliseconds of work after which it is ended; absent: none. */
  readonly timeLimit?: number;
  /** Where it fails it is started again, some times. */
  readonly isRepeated?: boolean;
}

/** The system manager of a node. Every call rejects with an Error of one line where systemd does not answer in time. */
export interface Systemd extends Closable {
  /** @returns its state; `loadState` says where it is not there */
  unit(name: string): Promise<UnitState>;
  /** systemctl daemon-reload. */
  reload(): Promise<void>;
  /** Resolve when the job is done. @throws an Error that names the job's result where that is not `done` */
  start(name: string): Promise<void>;
  stop(name: string): Promise<void>;
  restart(name: string): Promise<void>;
  /** Resolves when it is started, not ended. @throws UnitExistsError */
  startTransient(service: TransientService): Promise<void>;
  resetFailed(name: string): Promise<void>;
}

/** A unit of that name is there already: whoever started it is still at work. */
export class UnitExistsError extends Error {
  override readonly name = 'UnitExistsError';
}
