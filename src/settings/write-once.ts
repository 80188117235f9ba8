import { randomUUID } from 'node:crypto';
import { link, open, rm } from 'node:fs/promises';
import { hasCode } from '../errors.js';

/**
 * Writes a file whole or not at all, and never over another one: a crash or a race leaves no half of it. Where there is
 * one already, that one stays, and counts.
 *
 * @throws an Error naming the file
 */
export async function writeOnce(path: string, text: string, mode = 0o600): Promise<void> {
  const temporary = `${path}.${randomUUID()}.tmp`;
  try {
    const file = await open(temporary, 'wx', mode);
    try {
      await file.writeFile(text);
      await file.sync();
    } finally {
      await file.close();
    }
    // A rename would replace what somebody else has just made, and shown.
    await link(temporary, path);
  } catch (error) {
    if (!hasCode(error, 'EEXIST')) throw new Error(`cannot write ${path}`, { cause: error });
  } finally {
    await rm(temporary, { force: true }).catch(() => undefined);
  }
}
