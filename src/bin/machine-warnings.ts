import type { Configuration, ConfiguredVerifier } from '../config/configuration.js';
import { isMapping } from '../config/mapping.js';

/** Verifiers of machines that each own a user name: what one of them refuses, the next of its type is not asked about. */
const machineTypes: readonly string[] = ['aws-identity', 'aws-sts', 'azure-identity', 'gcp-identity'];

/**
 * What is likely to be a mistake in verifiers of machines.
 *
 * @returns one line each
 */
export function machineWarnings({ verifiers, state }: Configuration): readonly string[] {
  const machines = verifiers
    .map((verifier, i) => ({ verifier, setting: `verifiers[${i}]` }))
    .filter(({ verifier }) => machineTypes.includes(verifier.driver.driver.type));
  return machines.flatMap(({ verifier, setting }, i) => {
    const { type } = verifier.driver.driver;
    const first = machines
      .slice(0, i)
      .find((one) => one.verifier.driver.driver.type === type && isForSame(one.verifier, verifier));
    return [
      ...(first === undefined
        ? []
        : [
            `${setting}: it is not asked about what ${first.verifier.id} refuses, which is of the same type: write all into one`,
          ]),
      ...(state.driver.type === 'memory' &&
      type === 'aws-identity' &&
      settingOf(verifier, 'firstUse') !== 'none'
        ? [
            `${setting}: the state is in memory: with each restart documents, which never end, are bound anew; set state`,
          ]
        : []),
    ];
  });
}

/** Those with audiences of their own leave each other's machines to each other. */
function isForSame(one: ConfiguredVerifier, other: ConfiguredVerifier): boolean {
  const [ours, theirs] = [settingOf(one, 'audiences'), settingOf(other, 'audiences')];
  if (!Array.isArray(ours) || !Array.isArray(theirs)) return true;
  return ours.some((audience) => theirs.includes(audience));
}

function settingOf({ driver: { config } }: ConfiguredVerifier, name: string): unknown {
  return isMapping(config) ? config[name] : undefined;
}
