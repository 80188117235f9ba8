import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';

/** A secret in a file that is gone after the test. */
export function secretFile(t: TestContext, value: string) {
  const directory = mkdtempSync(join(tmpdir(), 'secret-'));
  t.after(() => rmSync(directory, { recursive: true }));
  const file = join(directory, 'secret');
  writeFileSync(file, `${value}\n`);
  return {
    file,
    /** As a Kubernetes volume or a careful editor does: another file takes its place. */
    replace(next: string): void {
      writeFileSync(`${file}.new`, `${next}\n`);
      renameSync(`${file}.new`, file);
    },
  };
}
