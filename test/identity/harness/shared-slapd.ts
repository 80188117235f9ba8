import { after, type TestContext } from 'node:test';
import { requireProgram } from '../../../src/testing/programs.js';
import { openWorkspace, type Workspace } from '../../e2e/harness/workspace.js';
import { type Slapd, type SlapdOptions, startSlapd } from './slapd.js';

/**
 * A directory for all tests of a file, started by the first that needs it and stopped after the last. Call it at the top
 * of the file.
 *
 * @param filled puts in what every test finds there
 * @returns asks for it in a test; undefined where there is no slapd and the test was skipped: return then
 */
export function sharedSlapd(
  filled: (slapd: Slapd) => Promise<void>,
  options?: SlapdOptions,
): (t: TestContext) => Promise<Slapd | undefined> {
  let started: Promise<Slapd> | undefined;
  let workspace: Workspace | undefined;
  after(async () => {
    await started?.catch(() => {});
    await workspace?.close();
  });
  const start = async () => {
    workspace = await openWorkspace('waiting');
    const slapd = await startSlapd(workspace, options);
    await filled(slapd);
    return slapd;
  };
  return async (t) => {
    if (requireProgram(t, 'slapd', 'slapd') === undefined) return undefined;
    started ??= start();
    return started;
  };
}
