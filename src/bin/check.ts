import type { Configuration } from '../config/configuration.js';
import type { Verifier } from '../contracts/index.js';
import {
  Opener,
  OpeningError,
  openPolicy,
  openUpstreams,
  openVerifiers,
  type Surroundings,
} from './open-parts.js';

/**
 * What only opening can tell: a users file with a bad line, a rule for nobody. Opens what neither writes nor listens,
 * and closes it again.
 *
 * @returns one line a problem
 */
export async function checkOpening(
  configuration: Configuration,
  surroundings: Surroundings,
): Promise<readonly string[]> {
  const opener = new Opener(configuration, surroundings);
  const noState = {
    get: async () => undefined,
    put: async () => undefined,
    compareAndSet: async () => false,
    delete: async () => undefined,
    list: async () => [],
    close: async () => undefined,
  };
  const problems: string[] = [];
  const attempts: readonly (() => Promise<unknown>)[] = [
    ...[...configuration.upstreams].map(
      (one) => () => openUpstreams(opener, { ...configuration, upstreams: new Map([one]) }),
    ),
    (): Promise<ReadonlyMap<string, Verifier>> => openVerifiers(opener, configuration, noState),
    () => openPolicy(opener, configuration),
  ];
  for (const attempt of attempts) {
    try {
      await attempt();
    } catch (error) {
      if (!(error instanceof OpeningError)) throw error;
      problems.push(`${configuration.file}: ${error.message}`);
    }
  }
  await opener.close();
  return problems;
}
