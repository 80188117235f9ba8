import assert from 'node:assert/strict';
import { test } from 'node:test';
import { awsPlace, isKnownRegion } from './aws-endpoint.js';

const places: readonly (readonly [region: string, partition: string, sts: string])[] = [
  ['eu-west-1', 'aws', 'sts.eu-west-1.amazonaws.com'],
  ['us-east-1', 'aws', 'sts.us-east-1.amazonaws.com'],
  ['cn-north-1', 'aws-cn', 'sts.cn-north-1.amazonaws.com.cn'],
  ['us-gov-west-1', 'aws-us-gov', 'sts.us-gov-west-1.amazonaws.com'],
  ['eusc-de-east-1', 'aws-eusc', 'sts.eusc-de-east-1.amazonaws.eu'],
  ['us-iso-east-1', 'aws-iso', 'sts.us-iso-east-1.c2s.ic.gov'],
  ['us-isob-east-1', 'aws-iso-b', 'sts.us-isob-east-1.sc2s.sgov.gov'],
  ['eu-isoe-west-1', 'aws-iso-e', 'sts.eu-isoe-west-1.cloud.adc-e.uk'],
  ['us-isof-south-1', 'aws-iso-f', 'sts.us-isof-south-1.csp.hci.ic.gov'],
];

for (const [region, partition, sts] of places) {
  test(`${region} is in ${partition}`, () => {
    assert.equal(awsPlace(region).partition, partition);
    assert.equal(awsPlace(region).host('sts'), sts);
  });
}

const known = [
  ...places.map(([region]) => region),
  ...[
    'af-south-1',
    'ap-northeast-3',
    'ap-southeast-7',
    'ap-east-2',
    'ca-west-1',
    'il-central-1',
    'me-central-1',
  ],
  ...[
    'mx-central-1',
    'sa-east-1',
    'cn-northwest-1',
    'us-gov-east-1',
    'us-isob-west-1',
    'eu-north-1',
    'us-west-12',
  ],
];
const unknown = [
  ...['', 'zz-west-1', 'evil-host-9', 'us-west', 'us-west-0', 'us-west-01', 'us-west-100', 'us-westeast-1'],
  ...[
    'us-gov-evil-west-1',
    'xus-west-1',
    'us-west-1\n',
    'us-west-1.evil.com',
    'US-WEST-1',
    'eusc-east-1',
    'us-x-west-1',
  ],
];

test('names of regions are known by their form', () => {
  for (const region of known) assert.equal(isKnownRegion(region), true, region);
  for (const region of unknown) assert.equal(isKnownRegion(region), false, region);
});
