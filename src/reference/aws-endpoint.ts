/** Domains of AWS's partitions, by how the names of their regions begin (AWS SDKs, "partitions.json"). */
const partitions: readonly (readonly [prefix: RegExp, partition: string, domain: string])[] = [
  [/^cn-/, 'aws-cn', 'amazonaws.com.cn'],
  [/^us-gov-/, 'aws-us-gov', 'amazonaws.com'],
  [/^eusc-/, 'aws-eusc', 'amazonaws.eu'],
  [/^us-iso-/, 'aws-iso', 'c2s.ic.gov'],
  [/^us-isob-/, 'aws-iso-b', 'sc2s.sgov.gov'],
  [/^eu-isoe-/, 'aws-iso-e', 'cloud.adc-e.uk'],
  [/^(?:us|eu)-isof-/, 'aws-iso-f', 'csp.hci.ic.gov'],
  [/^/, 'aws', 'amazonaws.com'],
];

/** `aws`, `aws-cn`, `aws-us-gov`, …: worlds of their own, with accounts and keys of their own. */
export const awsPartitions: readonly string[] = [...new Set(partitions.map(([, name]) => name))];

/** First parts of names, of all partitions (AWS SDKs, "partitions.json", `regionRegex`). */
const areas = [
  ...['af', 'ap', 'ca', 'cn', 'eu', 'il', 'me', 'mx', 'sa', 'us'],
  ...['us-gov', 'eusc-de', 'us-iso', 'us-isob', 'us-isof', 'eu-isoe', 'eu-isof'],
];
const directions = ['(?:north|south)?(?:east|west)', 'north', 'south', 'central'];
const knownRegion = new RegExp(`^(?:${areas.join('|')})-(?:${directions.join('|')})-[1-9]\\d?$`);

/**
 * True for a name of the form that AWS has given its regions so far. For names that nobody has vouched for yet: each is
 * a host that may be looked up, and `regionPattern` takes any words.
 */
export function isKnownRegion(region: string): boolean {
  return knownRegion.test(region);
}

/** Where the services of a region are, and how its ARNs begin. */
export interface AwsPlace {
  /** `aws`, `aws-cn`: the second part of an ARN. */
  readonly partition: string;
  /** The region's own endpoint of a service (AWS General Reference, "Regional endpoints"): `sts.eu-west-1.amazonaws.com`. */
  readonly host: (service: 'sts' | 'ec2') => string;
}

/** @param region one that `regionPattern` takes, such as `eu-west-1` */
export function awsPlace(region: string): AwsPlace {
  const [, partition = 'aws', domain = 'amazonaws.com'] =
    partitions.find(([prefix]) => prefix.test(region)) ?? [];
  return { partition, host: (service) => `${service}.${region}.${domain}` };
}
