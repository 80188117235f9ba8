import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseEcrHost } from './ecr-host.js';

const id = '123456789012';
const plain = { kind: 'private', account: id, fips: false, dualStack: false };

const hosts: Readonly<Record<string, object>> = {
  [`${id}.dkr.ecr.eu-west-1.amazonaws.com`]: { ...plain, region: 'eu-west-1' },
  [`${id}.dkr.ecr-fips.us-east-1.amazonaws.com`]: { ...plain, region: 'us-east-1', fips: true },
  [`${id}.dkr.ecr.us-gov-west-1.amazonaws.com`]: { ...plain, region: 'us-gov-west-1' },
  [`${id}.dkr.ecr.cn-north-1.amazonaws.com.cn`]: { ...plain, region: 'cn-north-1' },
  [`${id}.dkr.ecr.eusc-de-east-1.amazonaws.eu`]: { ...plain, region: 'eusc-de-east-1' },
  [`${id}.dkr.ecr.us-iso-east-1.c2s.ic.gov`]: { ...plain, region: 'us-iso-east-1' },
  [`${id}.dkr.ecr.us-isob-east-1.sc2s.sgov.gov`]: { ...plain, region: 'us-isob-east-1' },
  [`${id}.dkr-ecr.eu-west-1.on.aws`]: { ...plain, region: 'eu-west-1', dualStack: true },
  [`${id}.dkr-ecr-fips.us-east-2.on.aws`]: { ...plain, region: 'us-east-2', fips: true, dualStack: true },
  [`${id}.dkr-ecr.cn-north-1.on.amazonwebservices.com.cn`]: {
    ...plain,
    region: 'cn-north-1',
    dualStack: true,
  },
  'public.ecr.aws': { kind: 'public', dualStack: false },
  'ecr-public.aws.com': { kind: 'public', dualStack: true },
};

const others = [
  `12345678901.dkr.ecr.eu-west-1.amazonaws.com`,
  `1${id}.dkr.ecr.eu-west-1.amazonaws.com`,
  `${id}.dkr.ecr.eu-west-1.amazonaws.com.evil.com`,
  `${id}.dkr.ecr.eu-west-1.amazonaws.com.`,
  `${id}.dkr.ecr.eu-west-1.evil-amazonaws.com`,
  `evil.${id}.dkr.ecr.eu-west-1.amazonaws.com`,
  `${id}.dkr.ecr.eu-west-1.amazonawsxcom`,
  `${id}xdkr.ecr.eu-west-1.amazonaws.com`,
  `${id}.dkr.ecr.eu-west-1.evil.com.amazonaws.com`,
  `${id}.dkr.ecr.amazonaws.com`,
  `${id}.dkr.ecr.eu-west-1.amazonaws.com:443`,
  `${id}.dkr.ecr.eu-west-1.on.aws`,
  `${id}.dkr-ecr.eu-west-1.amazonaws.com`,
  'public.ecr.aws.evil.com',
  'xpublic.ecr.aws',
  'docker.io',
];

describe('a host of ECR', () => {
  for (const [host, expected] of Object.entries(hosts)) {
    test(host, () => assert.deepEqual(parseEcrHost(host), expected));
  }
  for (const host of others) test(`${host} is none`, () => assert.equal(parseEcrHost(host), undefined));
});
