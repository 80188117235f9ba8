import type { AttributeValue } from '../../contracts/index.js';
import { awsPlace } from '../../reference/aws-endpoint.js';
import { requireRegion } from '../machine/aws-regions.js';
import { notListed } from '../machine/shown-proof.js';
import type { IdentityDocument } from './identity-document.js';
import type { AwsIdentitySettings } from './settings.js';

type Rules = Pick<AwsIdentitySettings, 'accounts' | 'regions' | 'partitions' | 'instanceTypes' | 'imageIds'>;

/**
 * An instance in rules, in the state and for operators: `123456789012/i-0123456789abcdef0`, and outside of the partition
 * `aws` with that before it, for another account may have the number there: `aws-cn/123456789012/i-0123456789abcdef0`.
 */
export function instanceName({
  region,
  accountId,
  instanceId,
}: Pick<IdentityDocument, 'region' | 'accountId' | 'instanceId'>): string {
  const { partition } = awsPlace(region);
  return `${partition === 'aws' ? '' : `${partition}/`}${accountId}/${instanceId}`;
}

/** @throws RegistryError UNAUTHORIZED naming what is not allowed */
export function requireAllowed(document: IdentityDocument, rules: Rules): void {
  const { accountId, region, instanceType, imageId } = document;
  const name = instanceName(document);
  requireRegion(region, rules, name);
  if (!rules.accounts.includes(accountId)) throw notListed('the account', accountId, 'accounts', name);
  if (rules.instanceTypes?.some((pattern) => pattern.matches(instanceType ?? '')) === false) {
    throw notListed('the instance type', instanceType, 'instanceTypes', name);
  }
  if (rules.imageIds?.some((pattern) => pattern.matches(imageId ?? '')) === false) {
    throw notListed('the image', imageId, 'imageIds', name);
  }
}

/** What rules can speak of. */
export function attributesOf(document: IdentityDocument): Readonly<Record<string, AttributeValue>> {
  const { accountId, instanceId, region, pendingTime } = document;
  const { availabilityZone, instanceType, imageId, architecture, privateIp } = document;
  return {
    ...{ accountId, instanceId, region, pendingTime, partition: awsPlace(region).partition },
    ...(availabilityZone !== undefined && { availabilityZone }),
    ...(instanceType !== undefined && { instanceType }),
    ...(imageId !== undefined && { imageId }),
    ...(architecture !== undefined && { architecture }),
    ...(privateIp !== undefined && { privateIp }),
  };
}
