import type { Configuration } from '../config/configuration.js';
import { MemoryStateStore } from '../state-stores/memory.js';
import { openVerifier } from './open-parts.js';
import { Opener, type Surroundings } from './opener.js';
import { knownRules } from './rules-for.js';

/**
 * Rules for groups of verifiers that give none.
 *
 * @returns one line each
 * @throws OpeningError
 */
export async function groupWarnings(
  configuration: Configuration,
  surroundings: Surroundings,
): Promise<readonly string[]> {
  const { at, rules } = knownRules(configuration);
  if (rules.every(({ groups }) => groups.length === 0)) return [];
  const groupless = await withoutGroups(configuration, surroundings);
  return rules.flatMap(({ groups }, i) =>
    groups.flatMap((text, j) => {
      const colon = text.indexOf(':');
      const verifiers = colon < 0 ? configuration.mergedVerifiers : [text.slice(0, colon)];
      if (!verifiers.every((id) => groupless.has(id))) return [];
      const which = `the verifier ${verifiers.join(', and ')}`;
      return [`${at}[${i}].groups[${j}]: nobody is in it: as it is configured ${which} gives no groups`];
    }),
  );
}

/** The ids of verifiers that say so of themselves. */
async function withoutGroups(
  configuration: Configuration,
  surroundings: Surroundings,
): Promise<ReadonlySet<string>> {
  const opener = new Opener(configuration, surroundings);
  const state = { part: new MemoryStateStore(surroundings.clock), key: 'memory' };
  const found = new Set<string>();
  try {
    for (const [i, { id }] of configuration.verifiers.entries()) {
      const { part } = await openVerifier(opener, configuration, i, state);
      if (part.givesGroups === false) found.add(id);
    }
  } finally {
    await opener.close();
  }
  return found;
}
