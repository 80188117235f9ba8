import { z } from 'zod';
import { awsPartitions, awsPlace, isKnownRegion } from '../../reference/aws-endpoint.js';
import { regionPattern } from '../../reference/ecr-host.js';
import { notListed, refused } from './shown-proof.js';

const expectedRegion = 'expected a region such as eu-west-1';
const expectedPartition = `expected one of ${awsPartitions.join(', ')}`;

/** Which of AWS's regions count. */
export interface AwsRegions {
  /** Absent: all of `partitions`. */
  readonly regions?: readonly string[] | undefined;
  readonly partitions: readonly string[];
}

/** A list of `regions`, for a driver to describe. */
export const awsRegions = () =>
  z
    .array(z.string({ error: expectedRegion }).regex(regionPattern, expectedRegion), {
      error: 'expected a list of regions',
    })
    .min(1, 'expected at least one region; leave it out where all regions count');

/** AWS's worlds, of which an account is in one. */
export const awsPartitionsKey = () =>
  z
    .array(z.enum(awsPartitions, { error: expectedPartition }), { error: 'expected a list of partitions' })
    .min(1, 'expected at least one partition')
    .prefault(['aws'])
    .describe(
      `Which of AWS's worlds \`accounts\` are in (${awsPartitions.join(', ')}): the numbers of accounts are unique within each alone.`,
    );

/** For `superRefine`: a region that could never count is a mistake. */
export function checkAwsRegions({ regions = [], partitions }: AwsRegions, context: z.RefinementCtx): void {
  const outside = regions.find((region) => !partitions.includes(awsPlace(region).partition));
  if (outside === undefined) return;
  const message = `expected regions of \`partitions\`: ${outside} is of ${awsPlace(outside).partition}`;
  context.addIssue({ code: 'custom', path: ['regions'], message });
}

/**
 * @param who is in it, or what: for operators
 * @returns the partition
 * @throws RegistryError UNAUTHORIZED
 */
export function requireRegion(region: string, { regions, partitions }: AwsRegions, who: string): string {
  if (regions?.includes(region) === false) throw notListed('the region', region, 'regions', who);
  // One that AWS has yet to open may be of a partition that is not known here.
  if (regions === undefined && !isKnownRegion(region)) {
    throw refused(`the region ${region} is none that is known here; \`regions\` can name it (${who})`);
  }
  const { partition } = awsPlace(region);
  if (!partitions.includes(partition)) {
    throw notListed('the partition', partition, 'partitions', `${region}, ${who}`);
  }
  return partition;
}
