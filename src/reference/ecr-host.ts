/** What the host of a registry of Amazon's tells. */
export type EcrHost =
  | {
      readonly kind: 'private';
      /** Twelve digits: whose registry it is. */
      readonly account: string;
      readonly region: string;
      /** Its API is asked in the same way, for the machine may reach no other endpoint. */
      readonly fips: boolean;
      readonly dualStack: boolean;
    }
  | { readonly kind: 'public'; readonly dualStack: boolean };

const region = '[a-z]+(?:-[a-z]+)+-[0-9]+';
/** One suffix a partition: aws and aws-us-gov, China, the European sovereign cloud, and the isolated ones. */
const suffixes = [
  'amazonaws\\.com',
  'amazonaws\\.com\\.cn',
  'amazonaws\\.eu',
  'c2s\\.ic\\.gov',
  'sc2s\\.sgov\\.gov',
  'cloud\\.adc-e\\.uk',
  'csp\\.hci\\.ic\\.gov',
];
const dualStackSuffixes = [
  'on\\.aws',
  'on\\.amazonwebservices\\.com\\.cn',
  'on\\.amazonwebservices\\.eu',
  'on\\.aws\\.ic\\.gov',
  'on\\.aws\\.scloud',
  'on\\.cloud-aws\\.adc-e\\.uk',
  'on\\.aws\\.hci\\.ic\\.gov',
];

/** Amazon ECR user guide, "Making requests to Amazon ECR registries". Anchored: a name may end in anything (threat 9). */
const ipv4 = new RegExp(`^(\\d{12})\\.dkr\\.ecr(-fips)?\\.(${region})\\.(?:${suffixes.join('|')})$`);
const dual = new RegExp(`^(\\d{12})\\.dkr-ecr(-fips)?\\.(${region})\\.(?:${dualStackSuffixes.join('|')})$`);
const publicHost = 'public.ecr.aws';
const dualPublicHost = 'ecr-public.aws.com';

/** A region of AWS, such as `eu-west-1`, as a whole text. */
export const regionPattern = new RegExp(`^${region}$`);

/**
 * @param host as a `RegistryHost`: in lower case, with a port where it is not the scheme's own
 * @returns undefined for a host that is not Amazon's: an own name before a registry
 */
export function parseEcrHost(host: string): EcrHost | undefined {
  if (host === publicHost || host === dualPublicHost) {
    return { kind: 'public', dualStack: host === dualPublicHost };
  }
  for (const [pattern, dualStack] of [
    [ipv4, false],
    [dual, true],
  ] as const) {
    const [, account, fips, name] = pattern.exec(host) ?? [];
    if (account !== undefined && name !== undefined) {
      return { kind: 'private', account, region: name, fips: fips !== undefined, dualStack };
    }
  }
  return undefined;
}
