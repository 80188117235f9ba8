import type { Configuration } from './configuration.js';
import { isMapping } from './mapping.js';
import { printPath, type SettingPath } from './problem.js';

/** Deeper differences are told by the setting they are in. */
const maxDepth = 3;

/** What two configurations are compared by. */
export type ComparedConfiguration = Pick<Configuration, 'raw' | 'namedFiles'>;

/**
 * What another configuration says differently, as places and never as values: `upstreams.gcr.url`, `policy[1].actions`,
 * and `verifiers[0].file` where that file's content is another one.
 */
export function changedSettings(
  before: ComparedConfiguration,
  after: ComparedConfiguration,
): readonly string[] {
  const digests = new Map(before.namedFiles.map(({ setting, digest }) => [setting, digest]));
  const files = after.namedFiles.filter(({ setting, digest }) => (digests.get(setting) ?? digest) !== digest);
  return [...new Set([...differences(before.raw, after.raw, []), ...files.map(({ setting }) => setting)])];
}

function differences(before: unknown, after: unknown, path: SettingPath): readonly string[] {
  if (path.length < maxDepth) {
    if (isMapping(before) && isMapping(after)) {
      const keys = [...new Set([...Object.keys(before), ...Object.keys(after)])];
      return keys.flatMap((key) => differences(before[key], after[key], [...path, key]));
    }
    if (Array.isArray(before) && Array.isArray(after) && before.length === after.length) {
      return before.flatMap((one: unknown, i) => differences(one, after[i], [...path, i]));
    }
  }
  return JSON.stringify(before) === JSON.stringify(after) ? [] : [printPath(path)];
}
