import { z } from 'zod';
import type { NodeFiles } from '../contracts/node.js';

const verdicts = ['installed', 'uninstalled', 'nothing to do', 'refused', 'rolled back', 'failed'] as const;

const outcome = z.strictObject({
  verdict: z.enum(verdicts),
  reasons: z.array(z.string()),
  done: z.array(z.string()),
  kept: z.array(z.string()),
  isKubeletRestarted: z.boolean(),
});

const result = outcome.extend({
  run: z.string(),
  command: z.enum(['install', 'uninstall', 'roll-back']),
  version: z.string(),
  at: z.string(),
});

/**
 * What became of a run. `rolled back`: it did not work, and the node is as it was before; `failed`: it did not work,
 * and the reasons say what is left. `done`: what was done, in sentences. `kept`: files somebody else has changed.
 */
export type Outcome = z.output<typeof outcome>;

/** An outcome for whoever started the run: `run` is the id they gave, `at` the time (ISO 8601). */
export type InstallResult = z.output<typeof result>;

/** @returns whether scripts should see an exit code of 1 */
export function isFailure({ verdict }: Pick<Outcome, 'verdict'>): boolean {
  return verdict === 'refused' || verdict === 'rolled back' || verdict === 'failed';
}

export function resultPath(stateDirectory: string): string {
  return `${stateDirectory}/result.json`;
}

/** @throws as `NodeFiles.write` */
export async function writeResult(
  files: NodeFiles,
  stateDirectory: string,
  value: InstallResult,
): Promise<void> {
  await files.write(resultPath(stateDirectory), `${JSON.stringify(value, null, 2)}\n`, 0o600);
}

/** @returns undefined where there is none, or none that this version can read. @throws as `NodeFiles.read` */
export async function readResult(
  files: Pick<NodeFiles, 'read'>,
  stateDirectory: string,
): Promise<InstallResult | undefined> {
  const text = await files.read(resultPath(stateDirectory));
  if (text === undefined) return undefined;
  try {
    return result.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}
