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
