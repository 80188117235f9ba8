import { resolve } from 'node:path';
import { describeError } from '../errors.js';
import { type AuditLog, openAuditLog } from '../observability/audit-log.js';
import type { FilePath } from '../settings/file-path.js';
import { type Opener, OpeningError, type Surroundings } from './opener.js';

export interface AuditedConfiguration {
  /** Absent: no audit log. Without a file: standard output. */
  readonly audit?: { readonly file?: FilePath } | undefined;
  readonly baseDirectory: string;
}

/**
 * To be opened first, and so closed last: what ends writes to it.
 *
 * @param o.mayComeLater a file that cannot be opened is told, and no error
 * @throws OpeningError
 */
export async function openAudit(
  opener: Opener,
  { audit, baseDirectory }: AuditedConfiguration,
  surroundings: Surroundings & { readonly stdout: { write(line: string): void } },
  { mayComeLater = false } = {},
): Promise<AuditLog | undefined> {
  if (audit === undefined) return undefined;
  const file = audit.file && resolve(baseDirectory, audit.file.text);
  const parts = { ...surroundings, mayComeLater, ...(file !== undefined && { file }) };
  try {
    return (await opener.share(['audit', file ?? null], () => openAuditLog(parts))).part;
  } catch (error) {
    throw new OpeningError('audit', describeError(error), { cause: error });
  }
}
