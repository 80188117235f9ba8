/**
 * What the installer wrote last, by absolute path: by it a file that somebody has changed since is told from one that
 * is as we left it. Kept in the journal for as long as it is installed.
 */
export type WrittenRecord = Readonly<Record<string, WrittenFile>>;

export interface WrittenFile {
  /** SHA-256 of the complete file after we wrote it, in hexadecimal digits. */
  readonly hash: string;
  /** Our part of it, BEGIN to END with both line breaks (`blockOf`); absent where all of the file is ours. */
  readonly block?: string;
}
