import { z } from 'zod';

/**
 * A file or directory named in a configuration. A relative path counts from the configuration's own directory, which
 * the driver that opens it learns from its dependencies: `resolve(deps.baseDirectory)`.
 */
export class FilePath {
  readonly text: string;
  readonly kind: 'file' | 'written file' | 'directory' | 'readable directory';

  constructor(text: string, kind: FilePath['kind']) {
    this.text = text;
    this.kind = kind;
  }

  toString(): string {
    return this.text;
  }
}

/** A file that must be there and be readable; `check` says so where it is not. */
export const readableFile = () =>
  z
    .string({ error: 'expected a file name' })
    .min(1, 'expected a file name')
    .transform((text) => new FilePath(text, 'file'))
    .meta({ title: 'file' });

/** A file that we write; it need not be there yet. */
export const writtenFile = () =>
  z
    .string({ error: 'expected a file name' })
    .min(1, 'expected a file name')
    .transform((text) => new FilePath(text, 'written file'))
    .meta({ title: 'file' });

/** A directory of ours, created with mode 0700 when it is absent. */
export const ownDirectory = () =>
  z
    .string({ error: 'expected a directory name' })
    .min(1, 'expected a directory name')
    .transform((text) => new FilePath(text, 'directory'))
    .meta({ title: 'directory' });

/** A directory whose files must be there and be readable. */
export const readableDirectory = () =>
  z
    .string({ error: 'expected a directory name' })
    .min(1, 'expected a directory name')
    .transform((text) => new FilePath(text, 'readable directory'))
    .meta({ title: 'directory' });
