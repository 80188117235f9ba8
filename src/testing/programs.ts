import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import type { TestContext } from 'node:test';

/**
 * Finds a program that a test needs. Where it is absent the test is skipped and says how to get it; with
 * `REQUIRE_PROGRAMS=1` in the environment it fails instead, so that a complete run cannot leave tests out unseen.
 *
 * @param aptPackage the Debian package that brings it
 * @returns its path, or undefined where the test was skipped: return then
 */
export function requireProgram(t: TestContext, program: string, aptPackage: string): string | undefined {
  const path = findProgram(program);
  if (path !== undefined) return path;
  const reason = `${program} is not installed: apt-get install ${aptPackage}`;
  if (process.env.REQUIRE_PROGRAMS === '1') throw new Error(reason);
  t.skip(reason);
  return undefined;
}

/** Looks in `PATH`, and where Debian puts programs of the system, which users' paths leave out. */
export function findProgram(program: string): string | undefined {
  const directories = [...(process.env.PATH ?? '').split(delimiter), '/usr/local/sbin', '/usr/sbin', '/sbin'];
  return directories.map((directory) => join(directory, program)).find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
